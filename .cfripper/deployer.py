"""The one exception to cfripper's rules. cfripper reads no comment in a template, and needs a folder of its own."""

from cfripper.config.filter import Filter
from cfripper.model.enums import RuleMode

# cfripper refuses these actions on any resource, under any condition.
ACTIONS = [
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "iam:CreatePolicy",
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
]
FILTERS = [
    Filter(
        reason="The deployer creates a role and a user. aws/deployer.yaml limits both by name and by permissions boundary",
        rule_mode=RuleMode.ALLOWED,
        eval={"and": [{"eq": [{"ref": "logical_id"}, "Deployer"]}, {"eq": [{"ref": "actions"}, ACTIONS]}]},
        rules={"PrivilegeEscalationRule"},
    )
]
