"""The virtual hosts, users and permissions that the AMQP tests expect of a broker."""

import base64
import json
import urllib.parse
import urllib.request

from broker import PATIENCE

VHOST, SMALL_VHOST = "other", "small"
# name, password, tags
USERS = [
    ("guest", "guest", "administrator"),
    ("alice", "alice-secret", "impersonator"),
    ("limited", "limited-secret", ""),
    ("topical", "topical-secret", ""),
    ("nobody", "nobody-secret", ""),
    ("few", "few-secret", ""),
]
# user, vhost, configure, write, read
PERMISSIONS = [
    ("guest", "/", ".*", ".*", ".*"),
    ("guest", VHOST, ".*", ".*", ".*"),
    ("alice", "/", ".*", ".*", ".*"),
    ("limited", "/", "^own-", "^(own|shared)-", "^own-"),
    ("topical", "/", ".*", ".*", ".*"),
    ("guest", SMALL_VHOST, ".*", ".*", ".*"),
    ("few", "/", ".*", ".*", ".*"),
]
# user, vhost, exchange, write, read
TOPIC_PERMISSIONS = [("topical", "/", "amq.topic", "^ok\\.", "^ok\\.")]
USER_LIMITS = {"few": {"max-connections": 1, "max-channels": 2}}
VHOST_LIMITS = {SMALL_VHOST: {"max-connections": 2, "max-queues": 2}}
# name, pattern, definition, priority; they apply to what is called so
POLICIES = [
    ("plain", "^policed-", {"max-length": 3, "dead-letter-exchange": "amq.fanout"}, 1),
    ("urgent", "^policed-urgent-", {"max-length": 2}, 5),
    ("detour", "^detoured-", {"alternate-exchange": "amq.fanout"}, 0),
]
OPERATOR_POLICIES = [("cap", "^policed-capped-", {"max-length": 1}, 0)]


def definitions():
    """The same as RabbitMQ's definitions file."""
    return {
        "vhosts": [{"name": "/"}, {"name": VHOST}, {"name": SMALL_VHOST}],
        "users": [{"name": name, "password": password, "tags": tags, "limits": USER_LIMITS.get(name, {})}
                  for name, password, tags in USERS],
        "parameters": [{"component": "vhost-limits", "name": "limits", "vhost": vhost, "value": limits}
                       for vhost, limits in VHOST_LIMITS.items()]
        + [{"component": "operator_policy", "name": name, "vhost": "/",
            "value": {"pattern": pattern, "definition": definition, "priority": priority, "apply-to": "queues"}}
           for name, pattern, definition, priority in OPERATOR_POLICIES],
        "policies": [{"vhost": "/", "name": name, "pattern": pattern, "apply-to": "all", "definition": definition,
                      "priority": priority} for name, pattern, definition, priority in POLICIES],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}
            for user, vhost, configure, write, read in PERMISSIONS],
        "topic_permissions": [
            {"user": user, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
            for user, vhost, exchange, write, read in TOPIC_PERMISSIONS],
    }


def make(url):
    """Makes them through Tercet's control API, as the built-in guest."""
    def put(path, **body):
        request = urllib.request.Request(f"{url}/api/v1/{path}", method="PUT", data=json.dumps(body).encode(), headers={
            "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(), "Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def escaped(name):
        return urllib.parse.quote(name, safe="")

    for vhost in (VHOST, SMALL_VHOST):
        put(f"vhosts/{vhost}")
    # Guest first: it stops being built in as soon as there are others.
    for name, password, tags in USERS:
        put(f"users/{name}", password=password, tags=[tags] if tags else [])
    for user, vhost, configure, write, read in PERMISSIONS:
        put(f"permissions/{escaped(vhost)}/{user}", configure=configure, write=write, read=read)
    for user, vhost, exchange, write, read in TOPIC_PERMISSIONS:
        put(f"topic-permissions/{escaped(vhost)}/{user}", exchange=exchange, write=write, read=read)
    for user, limits in USER_LIMITS.items():
        put(f"user-limits/{user}", **limits)
    for vhost, limits in VHOST_LIMITS.items():
        put(f"vhost-limits/{escaped(vhost)}", **limits)
    for path, policies in [("policies", POLICIES), ("operator-policies", OPERATOR_POLICIES)]:
        for name, pattern, definition, priority in policies:
            put(f"{path}/{escaped('/')}/{name}", **{"pattern": pattern, "definition": definition, "priority": priority,
                                                    "apply-to": "queues" if path != "policies" else "all"})
