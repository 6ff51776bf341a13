"""Templates of aws/ with their intrinsic functions resolved, and IAM's decision about a request, as far as aws/ uses both."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from cfnlint.decode import decode
from helpers import ROOT
from rehearse import ACCOUNT_ID, REGION

Statement = dict[str, Any]
APP = "hello-lambda"
PSEUDO = {
    **{"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": None},
    **{"AWS::AccountId": ACCOUNT_ID, "AWS::Region": REGION},
}


def read_template(name: str, **parameters: str) -> dict[str, Any]:
    """A template for these parameters, without what a condition leaves out. A reference becomes the resource's ARN or id."""
    template, errors = decode(str(ROOT / f"aws/{name}.yaml"))
    assert errors == []
    assert template
    defaults = {key: value.get("Default") for key, value in template["Parameters"].items()}
    return Template(template, {**PSEUDO, **defaults, "AppName": APP, **parameters}).read()


class Template:
    def __init__(self, template: dict[str, Any], values: dict[str, Any]) -> None:
        self.template, self.values = template, values

    def read(self) -> dict[str, Any]:
        parts = {part: self.template.get(part, {}) for part in ("Resources", "Outputs")}
        return {
            part: {
                name: self.resolve({key: value for key, value in entry.items() if key != "Condition"})
                for name, entry in entries.items()
                if "Condition" not in entry or self.is_true({"Condition": entry["Condition"]})
            }
            for part, entries in parts.items()
        }

    def resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        match list(node.items()):
            case [("Ref", name)]:
                return self.values[name] if name in self.values else self.refer(name)
            case [("Fn::Sub", str(text))]:
                return self.substitute(text, {})
            case [("Fn::Sub", [text, names])]:
                return self.substitute(text, self.resolve(names))
            case [("Fn::If", [condition, then, otherwise])]:
                return self.resolve(then if self.is_true({"Condition": condition}) else otherwise)
            case [("Fn::GetAtt", [name, attribute])]:
                return f"{name}.{attribute}"
            case [("Fn::ImportValue", _)]:
                return "an-api-id"
            case [("Fn::Select", [index, values])]:
                return self.resolve(values)[index]
            case [("Fn::Split", [separator, text])]:
                return self.resolve(text).split(separator)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not None}

    def substitute(self, text: str, names: dict[str, str]) -> str:
        return re.sub(r"\$\{(.+?)\}", lambda found: str(names.get(found[1]) or self.resolve({"Ref": found[1]})), text)

    def refer(self, name: str) -> str:
        properties = self.template["Resources"][name].get("Properties", {})
        if "ManagedPolicyName" in properties:
            return f"arn:aws:iam::{ACCOUNT_ID}:policy/{self.resolve(properties['ManagedPolicyName'])}"
        return name

    def is_true(self, node: dict[str, Any]) -> bool:
        match list(node.items()):
            case [("Condition", name)]:
                return self.is_true(self.template["Conditions"][name])
            case [("Fn::Not", [condition])]:
                return not self.is_true(condition)
            case [("Fn::And", conditions)]:
                return all(map(self.is_true, conditions))
            case [("Fn::Equals", [left, right])]:
                return bool(self.resolve(left) == self.resolve(right))
        raise ValueError(node)


def is_allowed(statements: Sequence[Statement], action: str, resource: str, context: dict[str, str]) -> bool:
    return any(matches(statement, action, resource, context) for statement in statements)


def matches(statement: Statement, action: str, resource: str, context: dict[str, str]) -> bool:
    """A condition fails if the request lacks its key."""
    assert statement["Effect"] == "Allow"
    assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    return (
        is_like(action.lower(), [each.lower() for each in as_list(statement["Action"])])
        and is_like(resource, as_list(statement["Resource"]))
        and all(
            key in context and OPERATORS[operator](context[key], as_list(values))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, values in conditions.items()
        )
    )


def is_like(text: str, patterns: list[str]) -> bool:
    """IAM's wildcards are * and ?. No pattern here has a [, which means more to fnmatch."""
    return any(fnmatchcase(text, pattern) for pattern in patterns)


OPERATORS = {"StringEquals": lambda text, values: text in values, "StringLike": is_like}


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
