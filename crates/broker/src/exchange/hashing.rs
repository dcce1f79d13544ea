//! Exchanges that give each message to one binding, chosen by a hash.
//!
//! The consistent hash is weighted rendezvous hashing: every binding draws a number from its own identity and the hash of
//! the message, scaled by its weight, and the highest one wins. So a binding that comes takes its share from all others, one
//! that goes leaves what it had to all others, nothing else moves, and a weight costs no memory however large it is.

use tercet_amqp::content::{Properties, Property, PropertyValue};
use tercet_amqp::field::{Table, Value};

use crate::exchange::equivalence::shown;
use crate::exchange::routable::Routable;
use crate::exchange::target::{Target, TargetKey};
use crate::refusal::Refusal;

/// What of a message is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashOn {
    /// The routing key.
    Key,
    /// The header of this name.
    Header(Box<str>),
    /// A property.
    Property(Property),
}

impl HashOn {
    /// Reads the arguments of an exchange.
    ///
    /// # Errors
    /// 406 if both a header and a property are named, or one that cannot be hashed.
    pub(crate) fn parse(arguments: &Table<'_>) -> Result<Self, Refusal> {
        let (header, property) = (arguments.get("hash-header"), arguments.get("hash-property"));
        match (header, property) {
            (None, None) => Ok(Self::Key),
            (Some(_), Some(_)) => {
                Err(Refusal::precondition_failed("hash-header and hash-property are mutually exclusive"))
            }
            (Some(header), None) => header.as_str().map(|name| Self::Header(name.into())).ok_or_else(|| {
                Refusal::precondition_failed(format!("Unsupported header: {}", shown(&header)))
            }),
            (None, Some(property)) => match property.as_str() {
                Some("correlation_id") => Ok(Self::Property(Property::CorrelationId)),
                Some("message_id") => Ok(Self::Property(Property::MessageId)),
                Some("timestamp") => Ok(Self::Property(Property::Timestamp)),
                _ => Err(Refusal::precondition_failed(format!("Unsupported property: {}", shown(&property)))),
            },
        }
    }

    /// Whether the routing key alone decides.
    pub(crate) fn is_key(&self) -> bool {
        *self == Self::Key
    }

    /// The hash of a message. One that does not have what is hashed counts as empty there.
    fn hash(&self, message: &Routable<'_>) -> u64 {
        match self {
            Self::Key => hash(message.key().as_bytes()),
            Self::Header(name) => {
                message.headers().get(&**name).map_or(hash(b""), |value| hash_value(&value))
            }
            Self::Property(property) => {
                message.properties().map_or(hash(b""), |all| hash_of(&all, *property))
            }
        }
    }
}

fn hash_of(properties: &Properties<'_>, property: Property) -> u64 {
    match properties.get(property) {
        Ok(Some(PropertyValue::Text(text))) => hash(text.as_bytes()),
        Ok(Some(PropertyValue::Timestamp(seconds))) => hash(&seconds.to_be_bytes()),
        _ => hash(b""),
    }
}

fn hash_value(value: &Value<'_>) -> u64 {
    match value {
        Value::LongStr(bytes) | Value::Bytes(bytes) => hash(bytes),
        other => hash(shown(other).as_bytes()),
    }
}

/// FNV-1a, mixed so that every bit depends on every other.
fn hash(bytes: &[u8]) -> u64 {
    let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(mixed)
}

/// The finishing steps of SplitMix64.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The weight that a binding key says.
///
/// # Errors
/// 406 unless it is an integer from 1 to a million.
pub(crate) fn weight(key: &str) -> Result<u32, Refusal> {
    const MOST: i128 = 1_000_000;
    let refused = |text: String| Err(Refusal::precondition_failed(text));
    match key.parse::<i128>() {
        Err(_) => refused(format!("The binding key must be an integer: <<\"{key}\">>")),
        Ok(weight) if weight < 1 => refused("The binding key must be greater than 0".to_owned()),
        Ok(weight) if weight > MOST => refused(format!("The binding key must be at most {MOST}")),
        Ok(weight) => Ok(u32::try_from(weight).unwrap_or(1)),
    }
}

/// The bindings of a consistent hash exchange. Of several to one target the first one says the weight.
#[derive(Debug)]
pub(crate) struct ConsistentHash {
    pub on: HashOn,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    target: Target,
    /// Drawn from the target's identity.
    seed: u64,
    /// Of each binding, in the order they were made; never empty.
    weights: Vec<u32>,
}

impl ConsistentHash {
    pub(crate) fn new(on: HashOn) -> Self {
        Self { on, members: Vec::new() }
    }

    pub(crate) fn add(&mut self, target: &Target, weight: u32) {
        match self.members.iter_mut().find(|member| member.target.is(target)) {
            Some(member) => member.weights.push(weight),
            None => self.members.push(Member {
                seed: seed(target),
                target: target.clone(),
                weights: vec![weight],
            }),
        }
    }

    pub(crate) fn remove(&mut self, target: &Target, weight: u32) {
        let Some(at) = self.members.iter().position(|member| member.target.is(target)) else { return };
        let Some(member) = self.members.get_mut(at) else { return };
        if let Some(binding) = member.weights.iter().position(|known| *known == weight) {
            member.weights.remove(binding);
        }
        if member.weights.is_empty() {
            self.members.swap_remove(at);
        }
    }

    /// Who gets the message.
    pub(crate) fn choose(&self, message: &Routable<'_>) -> Option<&Target> {
        let hash = self.on.hash(message);
        let best = self.members.iter().max_by(|a, b| {
            let (a, b) = (a.score(hash), b.score(hash));
            a.total_cmp(&b)
        });
        best.map(|member| &member.target)
    }
}

impl Member {
    /// Higher is better; in proportion to the weight (weighted rendezvous hashing).
    fn score(&self, hash: u64) -> f64 {
        let weight = f64::from(self.weights.first().copied().unwrap_or(1));
        // 53 bits, strictly between 0 and 1.
        let draw = ((mix(hash ^ self.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -weight / draw.ln()
    }
}

/// Follows from the name, so that who gets what is the same after a restart.
fn seed(target: &Target) -> u64 {
    match target {
        Target::Queue(queue) => hash(queue.name().as_bytes()),
        Target::Exchange(name) => mix(hash(name.as_bytes())),
    }
}

/// Targets in an order that does not depend on when they came, to be chosen from by number.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    targets: Vec<(TargetKey, Target, u32)>,
}

impl Numbered {
    pub(crate) fn add(&mut self, target: &Target) {
        let key = target.key();
        match self.targets.binary_search_by(|(known, ..)| known.cmp(&key)) {
            Ok(at) => {
                if let Some((.., bindings)) = self.targets.get_mut(at) {
                    *bindings += 1;
                }
            }
            Err(at) => self.targets.insert(at, (key, target.clone(), 1)),
        }
    }

    pub(crate) fn remove(&mut self, target: &Target) {
        let key = target.key();
        let Ok(at) = self.targets.binary_search_by(|(known, ..)| known.cmp(&key)) else { return };
        match self.targets.get_mut(at) {
            Some((.., bindings)) if *bindings > 1 => *bindings -= 1,
            _ => {
                self.targets.remove(at);
            }
        }
    }

    /// The target that a number leads to: it is taken modulo their count.
    pub(crate) fn choose(&self, number: u64) -> Option<&Target> {
        let count = u64::try_from(self.targets.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(number % count).ok()?;
        self.targets.get(at).map(|(_, target, _)| target)
    }

    /// The target that a routing key leads to.
    pub(crate) fn choose_by_key(&self, key: &str) -> Option<&Target> {
        self.choose(hash(key.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;
    use tercet_amqp::field::TableBuf;

    fn target(name: &str) -> Target {
        Target::Exchange(name.into())
    }

    fn chosen(exchange: &ConsistentHash, key: &str) -> String {
        match exchange.choose(&Routable::of_key(key)) {
            Some(Target::Exchange(name)) => name.to_string(),
            _ => String::new(),
        }
    }

    fn shares(exchange: &ConsistentHash) -> HashMap<String, usize> {
        let mut shares = HashMap::new();
        for n in 0..20_000 {
            *shares.entry(chosen(exchange, &format!("key.{n}"))).or_insert(0) += 1;
        }
        shares
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut exchange = ConsistentHash::new(HashOn::Key);
        for (name, weight) in [("a", 1), ("b", 3), ("c", 6)] {
            exchange.add(&target(name), weight);
        }
        let shares = shares(&exchange);
        for (name, expected) in [("a", 2_000), ("b", 6_000), ("c", 12_000)] {
            let share = shares[name];
            assert!(share.abs_diff(expected) < 400, "{name}: {share} of {expected}");
        }
    }

    #[test]
    fn only_what_a_new_binding_takes_moves() {
        let mut exchange = ConsistentHash::new(HashOn::Key);
        ["a", "b", "c"].iter().for_each(|name| exchange.add(&target(name), 2));
        let keys: Vec<String> = (0..2_000).map(|n| format!("k{n}")).collect();
        let before: Vec<String> = keys.iter().map(|key| chosen(&exchange, key)).collect();
        exchange.add(&target("d"), 2);
        for (key, before) in keys.iter().zip(&before) {
            let after = chosen(&exchange, key);
            assert!(after == *before || after == "d", "{key} moved from {before} to {after}");
        }
        exchange.remove(&target("d"), 2);
        assert!(keys.iter().zip(&before).all(|(key, before)| chosen(&exchange, key) == *before));
    }

    #[test]
    fn a_second_binding_to_a_target_changes_nothing_until_the_first_goes() {
        let mut exchange = ConsistentHash::new(HashOn::Key);
        exchange.add(&target("a"), 1);
        exchange.add(&target("b"), 1);
        exchange.add(&target("b"), 1_000);
        let even = shares(&exchange);
        assert!(even["b"].abs_diff(10_000) < 600, "{even:?}");
        exchange.remove(&target("b"), 1);
        assert!(shares(&exchange)["b"] > 19_000);
        exchange.remove(&target("b"), 1_000);
        exchange.remove(&target("a"), 1);
        assert!(exchange.choose(&Routable::of_key("k")).is_none());
    }

    #[test]
    fn weights_are_bounded_integers() {
        for (key, text) in [
            ("x", "The binding key must be an integer: <<\"x\">>"),
            ("", "The binding key must be an integer: <<\"\">>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
            ("0", "The binding key must be greater than 0"),
            ("-3", "The binding key must be greater than 0"),
            ("99999999999999999999", "The binding key must be at most 1000000"),
        ] {
            assert_eq!(weight(key).unwrap_err().text, text);
        }
        assert_eq!(weight("1000000"), Ok(1_000_000));
    }

    #[test]
    fn a_header_and_a_property_exclude_each_other() {
        let parse = |fields: &[(&str, Value<'_>)]| {
            let mut table = TableBuf::new();
            for (name, value) in fields {
                table.put(name, *value).expect("short");
            }
            HashOn::parse(&table.as_table()).map_err(|refusal| refusal.text)
        };
        let header = ("hash-header", Value::from("h"));
        assert_eq!(parse(&[]), Ok(HashOn::Key));
        assert_eq!(parse(&[header]), Ok(HashOn::Header("h".into())));
        let property = ("hash-property", Value::from("message_id"));
        assert_eq!(parse(&[property]), Ok(HashOn::Property(Property::MessageId)));
        assert_eq!(
            parse(&[header, property]).unwrap_err(),
            "hash-header and hash-property are mutually exclusive"
        );
        assert_eq!(
            parse(&[("hash-property", Value::from("app_id"))]).unwrap_err(),
            "Unsupported property: app_id"
        );
    }

    #[test]
    fn a_missing_or_odd_header_is_no_trouble() {
        let mut exchange = ConsistentHash::new(HashOn::Header("h".into()));
        exchange.add(&target("a"), 1);
        let mut headers = TableBuf::new();
        headers.put("h", tercet_amqp::field::Array::default()).expect("short");
        for headers in [TableBuf::new(), headers] {
            let message = Routable::of_key("k").with_headers(headers.as_table());
            assert!(exchange.choose(&message).is_some());
        }
    }

    #[test]
    fn numbers_lead_to_every_target() {
        let mut numbered = Numbered::default();
        ["c", "a", "b", "a"].iter().for_each(|name| numbered.add(&target(name)));
        let mut seen: Vec<TargetKey> = (0..3).filter_map(|n| numbered.choose(n).map(Target::key)).collect();
        seen.dedup();
        assert_eq!(seen.len(), 3);
        numbered.remove(&target("a"));
        assert!(numbered.choose(0).is_some_and(|first| first.is(&target("a"))), "one binding is left");
        ["a", "b", "c"].iter().for_each(|name| numbered.remove(&target(name)));
        assert!(numbered.choose(7).is_none());
    }
}
