"""What a client can do that has none of our files: everything comes from reflection.

Prints one JSON line a step: its name and what came back.

Usage: grpc_usage.py PORT
"""

import base64
import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def show(step, value):
    print(json.dumps([step, value], sort_keys=True), flush=True)


class Api:
    """Calls by name, with messages as dictionaries."""

    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def method(self, service, name):
        return self.pool.FindServiceByName(f"bitroster.v1.{service}").FindMethodByName(name)

    def callable(self, service, name):
        method = self.method(service, name)
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
            (True, True): self.channel.stream_stream,
        }
        kind = kinds[(method.client_streaming, method.server_streaming)]
        return kind(
            f"/bitroster.v1.{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )

    def message(self, service, name, fields):
        made = message_factory.GetMessageClass(self.method(service, name).input_type)()
        return json_format.ParseDict(fields, made)

    def call(self, service, name, fields, **options):
        answer = self.callable(service, name)(self.message(service, name, fields), **options)
        return json_format.MessageToDict(answer)

    def stream(self, service, name, messages, **options):
        if self.method(service, name).client_streaming:
            asked = (self.message(service, name, fields) for fields in messages)
        else:
            asked = self.message(service, name, messages)
        answers = self.callable(service, name)(asked, **options)
        if not self.method(service, name).server_streaming:
            return json_format.MessageToDict(answers)
        return [json_format.MessageToDict(answer) for answer in answers]


def key(name):
    """Bytes as JSON has them."""
    return base64.b64encode(name.encode()).decode()


def words(line):
    return [key(word) for word in line.split()]


def refusal(api, service, name, fields):
    try:
        return api.call(service, name, fields)
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        return [error.code().name, error.details(), b"google.rpc.ErrorInfo" in details]


def main():
    api = Api(sys.argv[1])
    services = sorted(name for name in api.database.get_services() if "reflection" not in name)
    show("services", services)
    users = key("users")
    for offset in (3, 3, 3_000_000):
        answer = api.call("Bitmaps", "SetBit", {"key": users, "offset": offset, "value": True})
        show(f"set {offset}", answer)
    show("count", api.call("Bitmaps", "Count", {"key": users}))
    show("execute", api.call("Commands", "Execute", {"args": words("BITCOUNT users 0 0")}))
    show("get", api.call("Commands", "Execute", {"args": words("GETRANGE users 0 0")}))
    show("refused", refusal(api, "Commands", "Execute", {"args": words("SETBIT users x 1")}))
    wrong = {"key": users, "offset": 2**32, "value": True}
    show("too far", refusal(api, "Bitmaps", "SetBit", wrong))
    pieces = [{"header": {"key": key("paid"), "mode": "IMPORT_MODE_SET"}}]
    pieces += [{"offsets": {"offsets": list(range(at, at + 10_000))}} for at in (0, 10_000)]
    show("import", api.stream("Bitmaps", "ImportBits", pieces))
    pages = api.stream("Bitmaps", "ListBits", {"key": key("paid")})
    show("list", [len(pages) > 1, sum(len(page["offsets"]) for page in pages)])
    query = {"expression": "paid & users"}
    show("query", api.call("Bitmaps", "QueryCount", query))
    lines = ["MULTI", "SETBIT flag 1 1", "GETBIT flag 1", "EXEC", "NOPE"]
    request = {"commands": [{"args": words(line)} for line in lines]}
    answers = api.stream("Commands", "Pipeline", [request, request], timeout=30)
    shown = [answer["replies"][3]["array"]["items"] for answer in answers]
    errors = [answer["replies"][4]["error"]["code"] for answer in answers]
    show("pipeline", [shown, errors])
    call = api.callable("Commands", "Execute")
    _, info = call.with_call(
        api.message("Commands", "Execute", {"args": words("GETBIT users 3")}),
        metadata=[("bitroster-consistency", "stale")],
        timeout=30,
    )
    show("age", "bitroster-age-ms" in dict(info.initial_metadata()))


if __name__ == "__main__":
    main()
