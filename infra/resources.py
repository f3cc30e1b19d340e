"""How to find one's way in the resources of a translated template."""

import re


def methods(resources):
    """Every method of the API, with its path, its function's name and its integration."""
    for api in of_type(resources, "AWS::ApiGateway::RestApi").values():
        for path, operations in api["Body"]["paths"].items():
            for method, operation in operations.items():
                integration = operation["x-amazon-apigateway-integration"]
                function = re.search(r"/functions/\$\{(\w+)\.Arn\}/", integration["uri"]["Fn::Sub"]).group(1)
                yield method, path, function, integration


def setting_key(method, path):
    """As the settings of a method name it."""
    return method.upper(), "/" + path.replace("/", "~1")


def statements_of(resources, function):
    """What the role of a function allows."""
    role = resources[target(resources[function]["Properties"]["Role"])]["Properties"]
    return statements_in(role)


def statements_in(role):
    """What a role allows, under whatever condition."""
    policies = [one for policy in role.get("Policies", []) for one in policy.get("Fn::If", [None, policy])[1:]]
    return [one for policy in policies for one in many(policy.get("PolicyDocument", {}).get("Statement", []))]


def referred_to(value):
    """The names in every Ref, GetAtt, Sub and DependsOn."""
    if isinstance(value, list):
        for inner in value:
            yield from referred_to(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" or key == "DependsOn":
                yield from (one for one in many(inner) if isinstance(one, str))
            elif key == "Fn::GetAtt":
                yield inner[0] if isinstance(inner, list) else inner.split(".")[0]
            elif key == "Fn::Sub":
                text = inner[0] if isinstance(inner, list) else inner
                yield from re.findall(r"\$\{(\w+)", text)
                yield from referred_to(inner[1:] if isinstance(inner, list) else [])
            else:
                yield from referred_to(inner)


def intrinsics(value, path=""):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key in ("Ref", "Condition") or str(key).startswith("Fn::"):
            yield path
        else:
            yield from intrinsics(inner, f"{path}.{key}".lstrip("."))


def of_type(resources, kind):
    return {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}


def arn(name):
    return {"Fn::GetAtt": [name, "Arn"]}


def target(reference):
    """The resource whose ARN is referred to."""
    return (reference or {}).get("Fn::GetAtt", [None])[0]


def many(value):
    return value if isinstance(value, list) else [value]
