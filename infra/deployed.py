"""What a deployed stack says about itself. For the scripts beside it."""

import argparse
import os
import sys

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    sys.exit("boto3 is missing: pip install boto3, or run this in a venv with infra/requirements.txt.")


def parser(description):
    """Of what every script takes."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--stack", required=True, help="the name of the deployed stack")
    options.add_argument("--region", help="where the stack is; else as the environment or the profile says")
    options.add_argument("--profile", help="the profile of AWS's configuration; else as the environment says")
    return options


def session_of(arguments):
    """boto3 by itself does not know AWS_REGION."""
    region = arguments.region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return boto3.Session(region_name=region, profile_name=arguments.profile)


def outputs(session, stack):
    """The outputs of the stack, which has to have a user pool."""
    described = session.client("cloudformation").describe_stacks(StackName=stack)
    found = {one["OutputKey"]: one["OutputValue"] for one in described["Stacks"][0].get("Outputs", [])}
    if "ApiUrl" not in found:
        sys.exit(f"{stack} is not a stack of template.yaml, or it is not complete: it has no output ApiUrl.")
    if "UserPoolId" not in found:
        sys.exit(
            f"{stack} has no user pool: people log in with the identity provider that its parameter OidcIssuer names. "
            "Give the role there: an entry org/<organization's id>/administrator in the claim OidcRolesClaim."
        )
    return found


def run(main):
    """Runs it, and says in one line what AWS has against it."""
    try:
        main()
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"{error}")
    except (KeyboardInterrupt, EOFError):
        sys.exit("\nBroken off.")
