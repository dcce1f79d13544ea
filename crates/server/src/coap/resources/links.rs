//! What can be found, as links (RFC 6690): the collection, and `/.well-known/core`.

use std::sync::Arc;

use tercet_broker::body::Body;
use tercet_broker::crossing::coap::content_format;
use tercet_broker::permission::Action;
use tercet_coap::link_format::{self, Filter, Link};
use tercet_coap::{Code, ContentFormat};

use super::topics::collection::TOPICS;
use super::topics::properties::TOPIC_DATA;
use super::topics::table::Topic;
use super::{Call, topic_path};
use crate::coap::answer::Answer;
use crate::coap::context::CoapContext;
use crate::coap::directory;
use crate::coap::response::Response;

/// Resource type of configurations.
pub(super) const CONFIGURATION: &str = "core.ps.conf";
/// Links of one kind in an answer.
pub(super) const MOST: usize = 1000;

/// Answers with those of the links that the query of a request lets pass.
pub(super) fn answer(call: &Call<'_>, links: &[Link<'_>]) -> Answer {
    if call.asked.accept.is_some_and(|accept| accept != ContentFormat::LINK_FORMAT) {
        return Response::new(Code::NOT_ACCEPTABLE).into();
    }
    let arguments = call.asked.query.all.iter().copied().filter(|argument| !is_of_caller(argument));
    let filter = Filter::new(arguments);
    let mut text = String::new();
    link_format::write(links.iter().filter(|link| filter.matches(link)), &mut text);
    Response::content(ContentFormat::LINK_FORMAT, text).into()
}

/// Whether an argument says who asks, not what is asked for.
pub(crate) fn is_of_caller(argument: &str) -> bool {
    let name = argument.split_once('=').map_or(argument, |(name, _)| name);
    matches!(name, "clientid" | "c" | "username" | "u" | "password" | "p" | "token" | "t")
}

/// What is in the collection of topics.
pub(super) fn of_collection(call: &Call<'_>, cx: &CoapContext<'_>) -> Vec<Link<'static>> {
    let wanted = Wanted::of(call);
    let mut links = Vec::new();
    if wanted.configurations {
        links.extend(configurations(call, cx));
    }
    if wanted.data {
        links.extend(data(call, cx));
    }
    links
}

/// Serves `/.well-known/core`.
pub(super) fn well_known(call: &Call<'_>, cx: &CoapContext<'_>) -> Answer {
    if call.request.code != Code::GET {
        return Response::new(Code::METHOD_NOT_ALLOWED).into();
    }
    let mut links = vec![
        Link::new("/.well-known/core").with("ct", "40"),
        Link::new("/ps").with("rt", "core.ps core.ps.coll").with("ct", "40 60 110 112").flag("obs"),
        Link::new("/mqtt/connection"),
    ];
    links.extend(directory::links());
    links.extend(configurations(call, cx));
    links.extend(data(call, cx));
    answer(call, &links)
}

/// The configurations of topics that the caller may read.
fn configurations(call: &Call<'_>, cx: &CoapContext<'_>) -> Vec<Link<'static>> {
    let subject = call.caller.subject();
    let topics = cx.shared.coap.resources.topics.page(None, MOST).into_iter();
    let readable = topics.filter(|topic| cx.shared.vhost.may(&subject, Action::Receive, &topic.data));
    readable.map(|topic| of_configuration(&topic)).collect()
}

/// The link to a configuration.
pub(super) fn of_configuration(topic: &Arc<Topic>) -> Link<'static> {
    let link = Link::new(format!("/{TOPICS}/{}", topic.id)).with("rt", CONFIGURATION);
    link.with("ct", ContentFormat::CORE_PUBSUB.0.to_string())
}

/// The topics that have a value which the caller may read.
fn data(call: &Call<'_>, cx: &CoapContext<'_>) -> Vec<Link<'static>> {
    let subject = call.caller.subject();
    let page = cx.shared.vhost.retained_page("#", None, MOST);
    let there = page.values.iter().filter(|(topic, _)| topic_path::has_path(topic));
    let readable = there.filter(|(topic, body)| match body {
        Body::Memory(message) => cx.shared.vhost.may_see(&subject, message) && !message.is_expired(cx.now),
        Body::Log(_) => cx.shared.vhost.may(&subject, Action::Receive, topic),
    });
    let links = readable.map(|(topic, body)| {
        let link = Link::new(topic_path::reference(topic)).with("rt", TOPIC_DATA);
        // Of one that is only in the log nothing more is known here.
        let format = body.message().and_then(|message| content_format(message.properties()).0);
        let link = match format {
            Some(format) => link.with("ct", format.0.to_string()),
            None => link,
        };
        link.flag("obs")
    });
    links.collect()
}

/// Which kinds of links a reader of the collection wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    configurations: bool,
    data: bool,
}

impl Wanted {
    /// What the argument `rt` of a query asks for: configurations, unless it says otherwise.
    fn of(call: &Call<'_>) -> Self {
        let asked = call.asked.query.all.iter().find_map(|argument| argument.strip_prefix("rt="));
        let Some(asked) = asked else { return Self { configurations: true, data: false } };
        let fits = |kind: &str| match asked.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => kind == asked,
        };
        Self { configurations: fits(CONFIGURATION), data: fits(TOPIC_DATA) }
    }
}
