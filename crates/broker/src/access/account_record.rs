//! An account as bytes: a field table, so that fields can be added and unknown ones are skipped.

use std::collections::BTreeMap;

use tercet_amqp::EncodeError;
use tercet_amqp::field::{Array, ArrayBuf, Table, TableBuf, Value};

use super::account::{Account, Credential, TopicKey};
use super::limits::UserLimits;
use super::permission::{Permission, TopicPermission};
use super::tag::Tags;

/// Deepest nesting of a table that is read.
const DEPTH: u8 = 4;

/// Kinds of credentials on disk.
const HASH: &str = "hash";
const NO_PASSWORD: &str = "none";
const ELSEWHERE: &str = "elsewhere";
const BUILT_IN: &str = "built-in";
const REMOVED: &str = "removed";

/// Writes an account.
///
/// # Errors
/// When a text is longer than 4 GiB.
pub(super) fn encode(account: &Account) -> Result<Vec<u8>, EncodeError> {
    let mut table = TableBuf::new();
    let (kind, hash) = match &account.credential {
        Credential::Hash(hash) => (HASH, Some(hash)),
        Credential::NoPassword => (NO_PASSWORD, None),
        Credential::Elsewhere => (ELSEWHERE, None),
        Credential::BuiltIn => (BUILT_IN, None),
        Credential::Removed => (REMOVED, None),
    };
    table.put("credential", kind)?;
    if let Some(hash) = hash {
        table.put("hash", &**hash)?;
    }
    if let Some(tags) = &account.tags {
        let mut names = ArrayBuf::new();
        for name in tags.names() {
            names.push(name)?;
        }
        table.put("tags", names.as_array())?;
    }
    table.put("managed", account.managed)?;
    let mut permissions = ArrayBuf::new();
    for (vhost, permission) in &account.permissions {
        let mut entry = TableBuf::new();
        entry.put("vhost", &**vhost)?.put("configure", permission.configure.as_str())?;
        entry.put("write", permission.write.as_str())?.put("read", permission.read.as_str())?;
        permissions.push(entry.as_table())?;
    }
    table.put("permissions", permissions.as_array())?;
    let mut topics = ArrayBuf::new();
    for ((vhost, exchange), permission) in &account.topics {
        let mut entry = TableBuf::new();
        entry.put("vhost", &**vhost)?.put("exchange", &**exchange)?;
        entry.put("write", &*permission.write)?.put("read", &*permission.read)?;
        topics.push(entry.as_table())?;
    }
    table.put("topics", topics.as_array())?;
    for (name, limit) in
        [("max-connections", account.limits.max_connections), ("max-channels", account.limits.max_channels)]
    {
        if let Some(limit) = limit {
            table.put(name, i64::from(limit))?;
        }
    }
    Ok(table.as_table().as_bytes().to_vec())
}

/// Reads an account; `None` when the bytes are not one. A pattern that this version refuses gives no right.
pub(super) fn decode(bytes: &[u8]) -> Option<Account> {
    let table = Table::parse(bytes, DEPTH).ok()?;
    let mut account = Account::new(match text(&table, "credential")? {
        HASH => Credential::Hash(text(&table, "hash")?.into()),
        NO_PASSWORD => Credential::NoPassword,
        ELSEWHERE => Credential::Elsewhere,
        BUILT_IN => Credential::BuiltIn,
        REMOVED => Credential::Removed,
        _ => return None,
    });
    account.tags = match table.get("tags") {
        Some(Value::Array(names)) => {
            Some(Tags::from_names(names.iter().filter_map(|name| name.as_str())).ok()?)
        }
        _ => None,
    };
    account.managed = table.get("managed") == Some(Value::Bool(true));
    account.permissions = entries(&table, "permissions").filter_map(permission).collect::<BTreeMap<_, _>>();
    account.topics = entries(&table, "topics").filter_map(topic).collect::<BTreeMap<_, _>>();
    account.limits = UserLimits {
        max_connections: number(&table, "max-connections"),
        max_channels: number(&table, "max-channels"),
    };
    Some(account)
}

fn entries<'a>(table: &Table<'a>, name: &str) -> impl Iterator<Item = Table<'a>> + use<'a> {
    let array = match table.get(name) {
        Some(Value::Array(array)) => array,
        _ => Array::default(),
    };
    array.iter().filter_map(|entry| match entry {
        Value::Table(entry) => Some(entry),
        _ => None,
    })
}

fn permission(entry: Table<'_>) -> Option<(Box<str>, Permission)> {
    let [configure, write, read] = ["configure", "write", "read"].map(|name| text(&entry, name));
    Some((text(&entry, "vhost")?.into(), Permission::new(configure?, write?, read?).ok()?))
}

fn topic(entry: Table<'_>) -> Option<(TopicKey, TopicPermission)> {
    let key = (text(&entry, "vhost")?.into(), text(&entry, "exchange")?.into());
    // Kept even if this version refuses a pattern: without an entry every key would be allowed.
    Some((key, TopicPermission { write: text(&entry, "write")?.into(), read: text(&entry, "read")?.into() }))
}

fn text<'a>(table: &Table<'a>, name: &str) -> Option<&'a str> {
    table.get(name)?.as_str()
}

fn number(table: &Table<'_>, name: &str) -> Option<u32> {
    table.get(name)?.as_i64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Account {
        let mut account = Account::new(Credential::Hash("$argon2id$x".into()));
        account.tags = Some(Tags::parse("monitoring,blue").unwrap());
        account.managed = true;
        account.permissions.insert("/".into(), Permission::new("", "^a", ".*").unwrap());
        account.permissions.insert("ü/v".into(), Permission::everything());
        let topic = TopicPermission::new("^{username}", "").unwrap();
        account.topics.insert(("/".into(), "amq.topic".into()), topic);
        account.limits = UserLimits { max_connections: Some(0), max_channels: Some(7) };
        account
    }

    #[test]
    fn accounts_come_back_as_they_were_written() {
        let kinds = [Credential::NoPassword, Credential::Elsewhere, Credential::BuiltIn, Credential::Removed];
        let mut accounts: Vec<_> = kinds.into_iter().map(Account::new).collect();
        accounts.push(Account { tags: Some(Tags::none()), ..full() });
        accounts.push(full());
        for account in accounts {
            assert_eq!(decode(&encode(&account).unwrap()), Some(account));
        }
    }

    #[test]
    fn bytes_that_are_no_account_are_refused_and_unknown_fields_are_skipped() {
        let good = encode(&full()).unwrap();
        for cut in 1..good.len() {
            // What is left of a table may be one: then the credential is there, and nothing was made up.
            if let Some(account) = decode(&good[..cut]) {
                assert_eq!(account.credential, full().credential, "{cut}");
            }
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"\xff"), None);
        let mut table = TableBuf::new();
        table.put("credential", "none").unwrap().put("colour", 7_i64).unwrap();
        assert_eq!(decode(table.as_table().as_bytes()), Some(Account::new(Credential::NoPassword)));
        let mut table = TableBuf::new();
        table.put("credential", "telepathy").unwrap();
        assert_eq!(decode(table.as_table().as_bytes()), None);
    }
}
