"""The virtual hosts, users and permissions that the AMQP tests expect of a broker."""

VHOST = "other"
# name, password, tags
USERS = [
    ("guest", "guest", "administrator"),
    ("alice", "alice-secret", "impersonator"),
    ("limited", "limited-secret", ""),
    ("topical", "topical-secret", ""),
    ("nobody", "nobody-secret", ""),
]
# user, vhost, configure, write, read
PERMISSIONS = [
    ("guest", "/", ".*", ".*", ".*"),
    ("guest", VHOST, ".*", ".*", ".*"),
    ("alice", "/", ".*", ".*", ".*"),
    ("limited", "/", "^own-", "^(own|shared)-", "^own-"),
    ("topical", "/", ".*", ".*", ".*"),
]
# user, vhost, exchange, write, read
TOPIC_PERMISSIONS = [("topical", "/", "amq.topic", "^ok\\.", "^ok\\.")]


def definitions():
    """The same as RabbitMQ's definitions file."""
    return {
        "vhosts": [{"name": "/"}, {"name": VHOST}],
        "users": [{"name": name, "password": password, "tags": tags} for name, password, tags in USERS],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}
            for user, vhost, configure, write, read in PERMISSIONS],
        "topic_permissions": [
            {"user": user, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
            for user, vhost, exchange, write, read in TOPIC_PERMISSIONS],
    }
