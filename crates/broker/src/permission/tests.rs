//! The rule list as a whole: Mosquitto's behaviour, the traps, and a naive model beside it.

use super::acl_file::{AclError, AclProblem};
use super::*;
use Action::{Publish, Receive, Subscribe};
use proptest::prelude::*;

fn acl(text: &str) -> Permissions {
    Permissions::new(&acl_file::parse(text).unwrap())
}

fn subject<'a>(user: &'a str, client_id: &'a str) -> Subject<'a> {
    Subject { user: (user != "-").then_some(user), client_id }
}

/// Cases: user (`-` for none), client id, action, topic, whether it is allowed.
type Case = (&'static str, &'static str, Action, &'static str, bool);

fn assert_all(rules: &Permissions, cases: &[Case]) {
    for (user, client_id, action, topic, allowed) in cases {
        let answer = rules.check(&subject(user, client_id), *action, topic);
        assert_eq!(answer.is_allowed(), *allowed, "{user} ({client_id}) {action:?} {topic}");
    }
}

#[test]
fn without_rules_everything_is_allowed_and_with_an_empty_list_nothing() {
    let open = Permissions::allow_all();
    assert!(open.is_unrestricted());
    assert!(open.check(&subject("-", "c"), Publish, "$SYS/x").is_allowed());
    // CVE-2018-12550: an ACL file that says nothing must not open the broker.
    for text in ["", "\n\n", "# nothing but a comment\n"] {
        let rules = acl(text);
        assert!(!rules.is_unrestricted());
        for action in [Publish, Receive, Subscribe] {
            assert_eq!(rules.check(&subject("ann", "c"), action, "a"), Effect::Deny);
        }
    }
}

#[test]
fn an_acl_file_means_what_mosquitto_makes_of_it() {
    let rules = acl("topic read anon/#
topic read $SYS/broker/version
user alice
topic readwrite a/#
topic deny a/secret/#
topic read   with space/x
topic b/+/c
pattern deny a/pat/#
pattern readwrite dev/%c/#
pattern readwrite u/%u
");
    assert_all(
        &rules,
        &[
            ("alice", "c1", Publish, "a/x", true),
            ("alice", "c1", Publish, "a", true),
            ("alice", "c1", Publish, "a/secret/x", false),
            ("alice", "c1", Receive, "a/secret", false),
            // A `topic` line is read before every `pattern` line.
            ("alice", "c1", Publish, "a/pat/x", true),
            ("alice", "c1", Publish, "b/1/c", true),
            ("alice", "c1", Publish, "b/1/2/c", false),
            ("alice", "c1", Receive, "with space/x", true),
            ("alice", "c1", Publish, "with space/x", false),
            ("alice", "c1", Publish, "dev/c1/z", true),
            ("alice", "c1", Publish, "dev/c2/z", false),
            ("alice", "c1", Publish, "u/alice", true),
            ("alice", "c1", Publish, "u/carol", false),
            ("alice", "c1", Receive, "anon/x", false),
            ("carol", "c1", Publish, "a/x", false),
            ("carol", "c1", Publish, "a/pat/x", false),
            ("carol", "c1", Publish, "u/carol", true),
            ("-", "c1", Receive, "anon/x", true),
            ("-", "c1", Publish, "anon/x", false),
            ("-", "c1", Receive, "$SYS/broker/version", true),
            ("-", "c1", Publish, "dev/c1/z", true),
            ("-", "c1", Publish, "u/", false),
            ("-", "c1", Publish, "u/-", false),
        ],
    );
}

#[test]
fn subscriptions_are_granted_when_something_could_be_received() {
    let rules =
        acl("user ann\ntopic read a/#\ntopic deny a/secret/#\ntopic write w/#\npattern read p/%u/+\n");
    assert_all(
        &rules,
        &[
            ("ann", "c", Subscribe, "#", true),
            ("ann", "c", Subscribe, "a/b/c", true),
            ("ann", "c", Subscribe, "+/b", true),
            ("ann", "c", Subscribe, "a/secret/#", false),
            ("ann", "c", Subscribe, "a/secret/x", false),
            ("ann", "c", Subscribe, "b/#", false),
            ("ann", "c", Subscribe, "w/#", false),
            ("ann", "c", Subscribe, "p/ann/x", true),
            ("ann", "c", Subscribe, "p/bob/x", false),
            ("ann", "c", Subscribe, "p/+/x/y", false),
            ("ann", "c", Subscribe, "$SYS/#", false),
            ("bob", "c", Subscribe, "a/#", false),
            ("bob", "c", Subscribe, "#", true),
        ],
    );
}

#[test]
fn with_subscribe_lines_the_whole_filter_must_be_granted() {
    let rules =
        acl("user ann\ntopic read a/#\ntopic subscribe a/+/x\ntopic subscribe b/#\ntopic deny b/no\n");
    assert_all(
        &rules,
        &[
            ("ann", "c", Subscribe, "a/1/x", true),
            ("ann", "c", Subscribe, "a/+/x", true),
            ("ann", "c", Subscribe, "a/#", false),
            ("ann", "c", Subscribe, "a/1/y", false),
            ("ann", "c", Subscribe, "#", false),
            ("ann", "c", Subscribe, "b/#", true),
            ("ann", "c", Subscribe, "b/no", false),
            ("ann", "c", Receive, "a/1/y", true),
            ("ann", "c", Receive, "b/x", false),
            ("ann", "c", Publish, "b/x", false),
        ],
    );
}

#[test]
fn names_with_wildcards_or_separators_gain_nothing() {
    // CVE-2017-7650.
    let rules =
        acl("pattern readwrite c/%c/#\npattern readwrite u/%u\npattern read %u/x\npattern read all/#\n");
    for hostile in ["#", "+", "a/b", "+/+", "a#", "/", ""] {
        assert_all_denied(&rules, &subject(hostile, hostile));
        assert!(rules.check(&subject(hostile, hostile), Receive, "all/x").is_allowed());
        // The other value keeps its rights.
        assert!(rules.check(&subject("ann", hostile), Publish, "u/ann").is_allowed());
    }
}

fn assert_all_denied(rules: &Permissions, who: &Subject<'_>) {
    for topic in ["c/a/b", "c/a/b/x", "c/#", "c/+", "c//x", "c/x", "u/a/b", "u/a", "u/", "u/+", "x", "a/x"] {
        for action in [Publish, Receive, Subscribe] {
            assert_eq!(rules.check(who, action, topic), Effect::Deny, "{who:?} {action:?} {topic}");
        }
    }
}

#[test]
fn denials_with_a_hostile_name_are_widened_and_not_dropped() {
    let rules = acl("pattern deny own/%c/secret\npattern readwrite own/#\n");
    assert_all(
        &rules,
        &[
            ("ann", "c", Publish, "own/c/secret", false),
            ("ann", "c", Publish, "own/d/secret", true),
            ("ann", "a/b", Publish, "own/a/b/secret", false),
            ("ann", "a/b", Publish, "own/d/secret", false),
            ("ann", "a/b", Subscribe, "own/a/b/secret", false),
        ],
    );
}

#[test]
fn dollar_topics_need_a_rule_that_spells_them_out() {
    let rules = acl("pattern read #\npattern read +/broker/#\npattern read %u/#\npattern read $open/#\n");
    assert_all(
        &rules,
        &[
            ("$SYS", "c", Receive, "$SYS/broker/version", false),
            ("$SYS", "c", Subscribe, "$SYS/#", false),
            ("$SYS", "c", Subscribe, "$SYS/broker/+", false),
            ("ann", "c", Receive, "$open/x", true),
            ("ann", "c", Subscribe, "$open/#", true),
            ("ann", "c", Receive, "x/$SYS", true),
        ],
    );
}

#[test]
fn the_first_matching_rule_decides() {
    let rule = |who: Who, pattern: &str, effect| Rule {
        who,
        actions: Actions::ALL,
        resource: ResourcePattern::Topic(TopicPattern::filter(pattern).unwrap()),
        effect,
    };
    let ann = || Who::User("ann".into());
    let rules = Permissions::new(&RuleSet {
        rules: vec![
            rule(Who::Everyone, "x/1", Effect::Allow),
            rule(ann(), "x/#", Effect::Deny),
            rule(Who::Everyone, "x/#", Effect::Allow),
            rule(Who::Anonymous, "y", Effect::Allow),
            rule(ann(), "x/2", Effect::Allow),
        ],
        subscribe_check: SubscribeCheck::Covered,
    });
    assert_all(
        &rules,
        &[
            ("ann", "c", Publish, "x/1", true),
            ("ann", "c", Publish, "x/2", false),
            ("bob", "c", Publish, "x/2", true),
            ("bob", "c", Publish, "y", false),
            ("-", "c", Publish, "y", true),
            ("-", "c", Subscribe, "x/+", true),
            ("ann", "c", Subscribe, "x/+", false),
        ],
    );
}

#[test]
fn every_wrong_line_of_an_acl_file_is_named() {
    let text = "topic read a/#\nuser\nuser \ntopic\ntopic reed a\ntopic with space/x\npattern read a/%c-x\n\
        topic a/#/b\ntopic a+\nwhat\n  # indented comment\n\ntopic read a\0b\n";
    let errors = acl_file::parse(text).unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.line, error.problem.clone())).collect();
    let expected = [
        (2, AclProblem::MissingUser),
        (3, AclProblem::MissingUser),
        (4, AclProblem::MissingFilter("topic")),
        (5, AclProblem::UnknownAccess("reed".into())),
        (6, AclProblem::UnknownAccess("with".into())),
        (7, AclProblem::Pattern(PatternError::PlaceholderInsideLevel)),
        (8, AclProblem::Pattern(PatternError::ManyNotLast)),
        (9, AclProblem::Pattern(PatternError::WildcardInsideLevel)),
        (10, AclProblem::UnknownKeyword("what".into())),
        (13, AclProblem::Pattern(PatternError::Nul)),
    ];
    assert_eq!(found, expected);
    let shown = AclError { line: 5, problem: AclProblem::UnknownAccess("reed".into()) }.to_string();
    assert_eq!(
        shown,
        "line 5: unknown access `reed`, expected `read`, `write`, `readwrite`, `subscribe` or `deny`"
    );
}

#[test]
fn files_from_windows_and_names_with_spaces_are_read() {
    let rules = acl("user ann lee\r\ntopic read a/b\r\n\r\n");
    assert_all(&rules, &[("ann lee", "c", Receive, "a/b", true), ("ann", "c", Receive, "a/b", false)]);
}

#[test]
fn patterns_have_limits() {
    assert_eq!(TopicPattern::filter(""), Err(PatternError::Empty));
    assert_eq!(TopicPattern::filter(&"/".repeat(256)), Err(PatternError::TooManyLevels));
    assert_eq!(TopicPattern::filter(&"x".repeat(65_536)), Err(PatternError::TooLong));
    assert!(TopicPattern::filter(&"/".repeat(255)).is_ok());
    assert_eq!(TopicPattern::filter("a/%c").unwrap().levels().len(), 2);
    assert_ne!(TopicPattern::filter("a/%c").unwrap(), TopicPattern::template("a/%c").unwrap());
}

#[test]
fn a_topic_of_many_levels_costs_no_more_than_the_rules() {
    // CVE-2019-11779: neither recursion nor work per level of the topic.
    let rules = acl("pattern read +/+/+/x\npattern read a/#\n");
    let deep = "/".repeat(65_000);
    assert!(!rules.check(&subject("ann", "c"), Publish, &deep).is_allowed());
    assert!(rules.check(&subject("ann", "c"), Receive, &format!("a{deep}")).is_allowed());
    assert!(!rules.check(&subject("ann", "c"), Subscribe, &format!("b{deep}")).is_allowed());
}

#[test]
fn each_replacement_has_a_generation_of_its_own() {
    let store = PermissionStore::default();
    let before = store.load_full();
    assert!(before.is_unrestricted());
    let generation = store.replace(acl(""));
    assert!(generation > before.generation());
    assert_eq!(store.load().generation(), generation);
    assert!(!store.load().is_unrestricted());
    assert!(store.replace(Permissions::allow_all()) > generation);
}

/// Whether a filter, written as text, matches a topic. Deliberately the plainest possible way.
fn naive_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => naive_matches(filter, topic),
        ([own, filter @ ..], [level, topic @ ..]) => own == level && naive_matches(filter, topic),
        _ => false,
    }
}

fn naive_filter_matches(filter: &str, topic: &str) -> bool {
    let spelled_out = !filter.starts_with(['+', '#']);
    let (filter, levels): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    (spelled_out || !topic.starts_with('$')) && naive_matches(&filter, &levels)
}

/// The rule list as the documentation describes it, without any index.
fn naive_check(rules: &[(Who, &str, Effect)], who: &Subject<'_>, topic: &str) -> Effect {
    for (about, pattern, effect) in rules {
        let concerned = match about {
            Who::Everyone => true,
            Who::Anonymous => who.user.is_none(),
            Who::User(name) => who.user == Some(name.as_ref()),
        };
        if concerned && naive_rule_matches(pattern, *effect, who, topic) {
            return *effect;
        }
    }
    Effect::Deny
}

fn naive_rule_matches(pattern: &str, effect: Effect, who: &Subject<'_>, topic: &str) -> bool {
    if topic.starts_with('$') && pattern.starts_with(['+', '#', '%']) {
        return false;
    }
    let mut levels = Vec::new();
    for level in pattern.split('/') {
        let value = match level {
            "%c" => Some(who.client_id),
            "%u" => who.user,
            plain => {
                levels.push(plain);
                continue;
            }
        };
        match value {
            None => return false,
            Some(text) if !text.is_empty() && !text.contains(['/', '+', '#']) => levels.push(text),
            Some(_) if effect == Effect::Deny => {
                levels.push("#");
                break;
            }
            Some(_) => return false,
        }
    }
    naive_matches(&levels, &topic.split('/').collect::<Vec<_>>())
}

fn levels(choices: &'static [&'static str], many: bool) -> impl Strategy<Value = String> {
    let level = prop::sample::select(choices);
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(move |(mut levels, end)| {
        if many && end {
            levels.pop();
            levels.push("#");
        }
        match levels.join("/") {
            empty if empty.is_empty() => "/".to_owned(),
            text => text,
        }
    })
}

fn topic() -> impl Strategy<Value = String> {
    levels(&["a", "b", "", "$x"], false)
}

fn filter() -> impl Strategy<Value = String> {
    levels(&["a", "b", "", "$x", "+"], true)
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["a", "b", "$x", "a/b", "+", "#", ""][..])
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        Just(Who::Everyone),
        Just(Who::Anonymous),
        prop::sample::select(&["a", "b"][..]).prop_map(|name| Who::User(name.into())),
    ]
}

/// All topics of up to four levels over an alphabet with a word, `w`, that no filter contains.
fn all_topics() -> &'static [String] {
    use std::sync::OnceLock;
    static TOPICS: OnceLock<Vec<String>> = OnceLock::new();
    TOPICS.get_or_init(|| {
        let words = ["a", "b", "", "$x", "w"];
        let mut all: Vec<String> = words.map(str::to_owned).to_vec();
        let mut longest = all.clone();
        for _ in 0..3 {
            longest = longest.iter().flat_map(|topic| words.map(|word| format!("{topic}/{word}"))).collect();
            all.extend_from_slice(&longest);
        }
        all
    })
}

proptest! {
    #[test]
    fn the_index_agrees_with_the_naive_model(
        rules in prop::collection::vec(
            (who(), levels(&["a", "b", "", "$x", "+", "%c", "%u"], true), any::<bool>()), 0..8),
        user in prop::option::of(name()),
        client_id in name(),
        topic in topic(),
    ) {
        let effect = |allow: bool| if allow { Effect::Allow } else { Effect::Deny };
        let plain: Vec<_> =
            rules.iter().map(|(who, text, allow)| (who.clone(), text.as_str(), effect(*allow))).collect();
        let compiled = plain.iter().map(|(who, text, effect)| Rule {
            who: who.clone(),
            actions: Actions::of(&[Publish]),
            resource: ResourcePattern::Topic(TopicPattern::template(text).unwrap()),
            effect: *effect,
        });
        let set = RuleSet { rules: compiled.collect(), subscribe_check: SubscribeCheck::default() };
        let permissions = Permissions::new(&set);
        let who = Subject { user, client_id };
        prop_assert_eq!(permissions.check(&who, Publish, &topic), naive_check(&plain, &who, &topic));
        prop_assert_eq!(permissions.check(&who, Receive, &topic), Effect::Deny);
    }

    #[test]
    fn covering_and_overlapping_mean_what_they_say(pattern in filter(), filter in filter()) {
        let matched = |text: &str, topic: &&String| naive_filter_matches(text, topic);
        let mut of_filter = all_topics().iter().filter(|topic| matched(&filter, topic)).peekable();
        let covered = of_filter.clone().all(|topic| naive_filter_matches(&pattern, topic));
        let overlapping = of_filter.any(|topic| naive_filter_matches(&pattern, topic));
        prop_assert_eq!(pattern_covers(&pattern, &filter), covered, "{} covers {}", pattern, filter);
        prop_assert_eq!(filters_overlap(&pattern, &filter), overlapping, "{} meets {}", pattern, filter);
        prop_assert_eq!(filters_overlap(&filter, &pattern), overlapping);
    }

    #[test]
    fn a_granted_subscription_lies_inside_what_may_be_received(
        allowed in filter(), denied in filter(), wanted in filter(),
    ) {
        let text = format!("pattern read {allowed}\npattern subscribe {allowed}\npattern deny {denied}\n");
        let rules = acl(&text);
        let who = subject("ann", "c");
        if rules.check(&who, Subscribe, &wanted).is_allowed() {
            for topic in all_topics().iter().filter(|topic| naive_filter_matches(&wanted, topic)) {
                let readable = !naive_filter_matches(&denied, topic);
                prop_assert_eq!(rules.check(&who, Receive, topic).is_allowed(), readable, "{}", topic);
            }
        }
    }

    #[test]
    fn no_text_makes_the_acl_reader_panic(text in "(user|topic|pattern|read|deny| |\t|/|#|\\+|%c|%u|\n|é|a){0,40}") {
        let _ = acl_file::parse(&text);
    }
}
