"""Runs the emulator of AWS with what it lacks of what our stack needs, so that the stack is deployed as it is.

    python emulator.py

What is added belongs to one version of the emulator, which requirements.txt pins. A function of it that is no longer there
stops this at once.
"""

import base64
import json
import re

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import apigateway_v1, lambda_svc, s3
from ministack.services.cloudformation import provisioners

# How the Lambda runtime marks a response that streams, and what API Gateway puts at the end of such a function's address.
STREAMING = ("Lambda-Runtime-Function-Response-Mode", "streaming")
STREAMING_INVOCATION = "/response-streaming-invocations"
# The name that the method ANY has in the description of an API.
ANY_METHOD = "x-amazon-apigateway-any-method"
# What stands between the head of a streamed response, which is JSON, and its body.
SEPARATOR = bytes(8)


def main():
    stream_responses()
    invoke_functions_that_stream()
    import_any_method()
    tell_the_domain()
    read_parts_of_versions()
    keep_alarms_with_expressions()
    limit_event_sources()
    serve_user_pools()
    app.main()


def stream_responses():
    """The emulator takes every response for JSON. A streamed one is gathered here, and becomes what a function that
    does not stream would have answered."""
    build = lambda_runtime.ProvidedWorker._build_handler_class

    def build_handler_class(worker, generation, pending):
        class Handler(build(worker, generation, pending)):
            def do_POST(self):
                if self.headers.get(STREAMING[0]) != STREAMING[1]:
                    return super().do_POST()
                # A function that ends amid its response leaves a last chunk without its length: that raises, and the
                # invocation fails.
                body = self._read_body()
                request_id = re.search(r"/invocation/([^/]+)/response$", self.path).group(1)
                accepted = worker._record_result(generation, request_id, "response", gathered(body))
                return self._respond(202 if accepted else 400)

        return Handler

    lambda_runtime.ProvidedWorker._build_handler_class = build_handler_class


def gathered(streamed):
    head, body = streamed.split(SEPARATOR, 1)
    response = json.loads(head)
    # They stand beside the headers there.
    if cookies := response.pop("cookies", None):
        response["multiValueHeaders"] = {"Set-Cookie": cookies}
    # Bytes, which go through as they are: base64 would be decoded only for binary media types, and we need none.
    response["body"] = body
    return response


def invoke_functions_that_stream():
    """The address of a function that streams has another end than the emulator looks for."""
    extract = apigateway_v1._extract_lambda_ref_from_integration_uri
    apigateway_v1._extract_lambda_ref_from_integration_uri = lambda uri: extract(
        uri.replace(STREAMING_INVOCATION, "/invocations")
    )


def import_any_method():
    """The emulator knows the method ANY, but drops it from the description of an API."""
    apigateway_v1._OPENAPI_HTTP_METHODS |= {"any"}
    import_path = apigateway_v1._import_path_item

    def import_path_item(api, path, item, *others):
        named = {"any" if method == ANY_METHOD else method: operation for method, operation in item.items()}
        return import_path(api, path, named, *others)

    apigateway_v1._import_path_item = import_path_item


def tell_the_domain():
    """A function learns from an event by which domain it was called, and the emulator leaves that out."""
    build = apigateway_v1._build_lambda_event_v1

    def build_event(*arguments, **options):
        event = build(*arguments, **options)
        headers = {name.lower(): value for name, value in event["headers"].items()}
        event["requestContext"]["domainName"] = headers["host"].split(":")[0]
        return event

    apigateway_v1._build_lambda_event_v1 = build_event


def read_parts_of_versions():
    """The emulator gives the whole object where a part of one version is asked for."""
    get = s3._get_object

    def get_object(bucket, key, headers, query=None):
        status, answered, body = get(bucket, key, headers, query)
        wanted = headers.get("range")
        if status != 200 or not wanted:
            return status, answered, body
        first, last = s3._parse_range(wanted, len(body))
        part = body[first : last + 1]
        # A checksum is of the whole object.
        answered = {name: value for name, value in answered.items() if not name.lower().startswith("x-amz-checksum")}
        answered |= {"Content-Length": str(len(part)), "Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return 206, answered, part

    s3._get_object = get_object


def keep_alarms_with_expressions():
    """The emulator refuses an alarm on an expression, and with it the stack. It evaluates none of them, so any metric
    of the expression will do."""
    record = provisioners._cw_metric_alarm_record

    def record_alarm(name, properties):
        if metrics := properties.get("Metrics"):
            used = next(one["MetricStat"]["Metric"] for one in metrics if "MetricStat" in one)
            properties = {**properties, **used, "Metrics": None}
        return record(name, properties)

    provisioners._cw_metric_alarm_record = record_alarm


def limit_event_sources():
    """A limit that comes from a parameter is a text, and the emulator compares it with numbers."""
    concurrency = lambda_svc._sqs_esm_concurrency

    def sqs_esm_concurrency(mapping, *others):
        scaling = mapping.get("ScalingConfig") or {}
        numbers = {name: int(value) for name, value in scaling.items()}
        return concurrency({**mapping, "ScalingConfig": numbers}, *others)

    lambda_svc._sqs_esm_concurrency = sqs_esm_concurrency


def serve_user_pools():
    """The emulator takes the name by which user pools are called for a bucket's, and leads who asks for their keys away
    from TLS."""
    app._NON_S3_VHOST_NAMES |= {"cognito-idp"}
    handle = app._handle_cognito_get_request

    def handle_get(method, path, headers, query_params):
        return handle(method, path, {**headers, "x-forwarded-proto": "https"}, query_params)

    app._handle_cognito_get_request = handle_get


if __name__ == "__main__":
    main()
