//! `/ps`: the collection of topics (draft-ietf-core-coap-pubsub-21 §4).

use tercet_broker::message::Qos;
use tercet_broker::permission::Action;
use tercet_coap::{Code, ContentFormat};

use super::configuration::{self, rejected};
use super::properties::{Properties, TOPIC_DATA};
use super::table::{Conflict, MOST};
use crate::coap::answer::Answer;
use crate::coap::context::CoapContext;
use crate::coap::resources::topic_data::{after_log, forbidden, unavailable};
use crate::coap::resources::{Call, changes, links, topic_path};
use crate::coap::response::Response;

/// First segment of the paths of configurations.
pub(in crate::coap::resources) const TOPICS: &str = "topics";

/// Serves the collection.
pub(in crate::coap::resources) fn serve(call: &Call<'_>, cx: &mut CoapContext<'_>) -> Answer {
    match call.request.code {
        // All topics, as the map of those that change: a list of links has nothing to tell about that.
        Code::GET if call.observes() && call.asked.accept != Some(ContentFormat::LINK_FORMAT) => {
            changes::serve(call, "#", cx)
        }
        Code::GET => links::answer(call, &links::of_collection(call, cx)),
        Code::FETCH => filter(call, cx),
        Code::POST => create(call, cx),
        _ => Response::new(Code::METHOD_NOT_ALLOWED).into(),
    }
}

/// Lists the topics that have all the properties in the payload, with these values.
fn filter(call: &Call<'_>, cx: &CoapContext<'_>) -> Answer {
    let wanted = match configuration::properties(call) {
        Ok(wanted) => wanted,
        Err(response) => return response.into(),
    };
    let subject = call.caller.subject();
    let topics = cx.shared.coap.resources.topics.page(None, MOST).into_iter();
    let found = topics
        .filter(|topic| wanted.match_those_of(&topic.properties))
        .filter(|topic| cx.shared.vhost.may(&subject, Action::Receive, &topic.data))
        .take(links::MOST)
        .map(|topic| links::of_configuration(&topic));
    links::answer(call, &found.collect::<Vec<_>>())
}

/// Configures a topic.
fn create(call: &Call<'_>, cx: &mut CoapContext<'_>) -> Answer {
    let mut properties = match configuration::properties(call) {
        Ok(properties) => properties,
        Err(response) => return response.into(),
    };
    let data = match complete(&mut properties, cx.now.utc_ms) {
        Ok(data) => data,
        Err(reason) => return rejected(reason).into(),
    };
    if !cx.shared.vhost.may(&call.caller.subject(), Action::Publish, &data) {
        return forbidden();
    }
    let initial = properties.initialize.take();
    let topics = &cx.shared.coap.resources.topics;
    let (topic, position) = match topics.create(data.into(), properties, configuration::fresh_id) {
        Ok(created) => created,
        Err(Conflict::Name) => return rejected("another topic has this name").into(),
        Err(Conflict::Data | Conflict::Gone) => return rejected("another topic has this data").into(),
        Err(Conflict::Full) => return unavailable("there are as many topics as can be"),
    };
    let response = Response {
        location: vec![TOPICS.to_owned(), topic.id.to_string()],
        ..configuration::show(&topic.properties, Code::CREATED)
    };
    match initial {
        None => after_log(position, response),
        Some(value) => {
            let published = configuration::initialize(&topic, &value, Qos::AtLeastOnce, call, cx);
            after_log(position.max(published), response)
        }
    }
}

/// Makes sure that the properties are those of a topic, and says where in the topic space its data is.
fn complete(properties: &mut Properties, utc_ms: u64) -> Result<String, &'static str> {
    let name = properties.name.as_deref().ok_or("topic-name is missing")?;
    match properties.resource_type.as_deref() {
        None => return Err("resource-type is missing"),
        Some(TOPIC_DATA) => {}
        Some(_) => return Err("resource-type is core.ps.data"),
    }
    let named = topic_path::of_name(name)?;
    let data = match &properties.data {
        Some(reference) => topic_path::of_reference(reference)?,
        None => named,
    };
    configuration::check(properties, utc_ms)?;
    if properties.initialize.as_ref().is_some_and(Vec::is_empty) {
        return Err("initialize is not empty");
    }
    if properties.initialize.is_some() && properties.content_format.is_none() {
        return Err("initialize needs topic-content-format");
    }
    properties.data.get_or_insert_with(|| topic_path::reference(&data));
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_needs_a_name_that_can_be_published() {
        let base = || Properties {
            name: Some("a/b".into()),
            resource_type: Some(TOPIC_DATA.into()),
            ..Properties::default()
        };
        let mut simple = base();
        assert_eq!(complete(&mut simple, 0).as_deref(), Ok("a/b"));
        assert_eq!(simple.data.as_deref(), Some("/ps/a/b"));
        let mut elsewhere = Properties { data: Some("/ps/data/x%20y".into()), ..base() };
        assert_eq!(complete(&mut elsewhere, 0).as_deref(), Ok("data/x y"));
        for (what, mut properties) in [
            ("no name", Properties { name: None, ..base() }),
            ("no type", Properties { resource_type: None, ..base() }),
            ("another type", Properties { resource_type: Some("core.ps.conf".into()), ..base() }),
            ("an empty name", Properties { name: Some(String::new()), ..base() }),
            ("a wildcard", Properties { name: Some("a/+".into()), ..base() }),
            ("another server", Properties { data: Some("coap://other/ps/a".into()), ..base() }),
            ("another path", Properties { data: Some("/topics/a".into()), ..base() }),
            ("a query", Properties { data: Some("/ps/a?b".into()), ..base() }),
            ("a date in the past", Properties { expires_ms: Some(1), ..base() }),
            ("a value without format", Properties { initialize: Some(vec![1]), ..base() }),
        ] {
            assert!(complete(&mut properties, 5).is_err(), "{what}");
        }
    }
}
