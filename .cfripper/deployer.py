"""The one exception to cfripper's rules. cfripper reads no comment in a template, and needs a folder of its own."""

from cfripper.config.filter import Filter
from cfripper.model.enums import RuleMode

# cfripper refuses these actions on any resource, under any condition.
ACTIONS = {
    "Deployer": ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"],
    "InvokerDeployer": ["iam:AttachUserPolicy", "iam:CreateAccessKey", "iam:CreatePolicy"],
}
FILTERS = [
    Filter(
        reason="The deployer creates a role and a user. aws/deployer.yaml limits both by name and by permissions boundary",
        rule_mode=RuleMode.ALLOWED,
        eval={"and": [{"eq": [{"ref": "logical_id"}, policy]}, {"eq": [{"ref": "actions"}, actions]}]},
        rules={"PrivilegeEscalationRule"},
    )
    for policy, actions in ACTIONS.items()
]
