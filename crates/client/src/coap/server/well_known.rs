//! `/.well-known/core`: what resources there are (RFC 6690 §4).

use tercet_coap::Code;
use tercet_coap::content_format::ContentFormat;
use tercet_coap::link_format::{self, Filter, Link};

use super::reply::Reply;
use super::router::Router;

/// The path of the resource.
pub(super) const PATH: [&str; 2] = [".well-known", "core"];

/// The links of a router that match the query.
pub(super) fn answer<'a>(router: &Router, query: impl Iterator<Item = &'a str>) -> Reply {
    let filter = Filter::new(query);
    let links = links(router);
    let mut text = String::new();
    link_format::write(links.iter().filter(|link| filter.matches(link)), &mut text);
    Reply::new().code(Code::CONTENT).content_format(ContentFormat::LINK_FORMAT).payload(text)
}

fn links(router: &Router) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    for route in router.plain() {
        let description = route.methods.description();
        if description.hidden {
            continue;
        }
        let mut link = Link::new(route.pattern.as_str());
        if !description.resource_types.is_empty() {
            link = link.with("rt", description.resource_types.join(" "));
        }
        if !description.interfaces.is_empty() {
            link = link.with("if", description.interfaces.join(" "));
        }
        if !description.produces.is_empty() {
            let formats: Vec<_> = description.produces.iter().map(|format| format.0.to_string()).collect();
            link = link.with("ct", formats.join(" "));
        }
        if let Some(title) = &description.title {
            link = link.with("title", title.as_str());
        }
        if description.trigger.is_some() {
            link = link.flag("obs");
        }
        links.push(link);
    }
    links
}
