//! SUBSCRIBE and UNSUBSCRIBE.

use smallvec::SmallVec;
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::journal::Position;
use tercet_broker::message::Qos;
use tercet_broker::vhost::subscribing::{LEGACY_QUEUE, Refused, Subscribe as Request};
use tercet_mqtt::property::{SubAckProperties, UnsubAckProperties};
use tercet_mqtt::topic::TopicFilter;
use tercet_mqtt::{
    Packet, ReasonCode, RetainHandling as WireRetainHandling, SubAck, Subscribe, Subscription, UnsubAck,
    Unsubscribe,
};

use crate::mqtt::connection::{Client, End, answer};
use crate::mqtt::outbox::to_core;
use crate::mqtt::publishing::highest;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::FaceContext;

impl Client {
    pub(super) fn subscribe(
        &mut self,
        packet: &Subscribe<'_>,
        settings: &ListenerSettings,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), End> {
        let id = packet.properties.subscription_id.map(|id| id.get());
        if id.is_some() && !settings.features.subscription_ids {
            return Err(End::Fault(ReasonCode::SubscriptionIdentifiersNotSupported, "§3.2.2.3.12"));
        }
        let mut codes: SmallVec<[ReasonCode; 8]> = SmallVec::new();
        let mut position = Position::NONE;
        for subscription in packet.subscriptions {
            let (code, at) = self.subscribe_one(&subscription, id, settings, cx);
            codes.push(code);
            position = position.max(at);
        }
        let suback = SubAck {
            packet_id: packet.packet_id,
            properties: SubAckProperties::default(),
            reason_codes: codes.as_slice().into(),
        };
        let (version, durable) = (self.version, cx.shared.vhost.durable());
        self.inflow
            .answer(position, durable, out, false, |out| answer(&Packet::SubAck(suback), version, out));
        Ok(())
    }

    fn subscribe_one(
        &self,
        subscription: &Subscription<'_>,
        id: Option<u32>,
        settings: &ListenerSettings,
        cx: &mut FaceContext<'_>,
    ) -> (ReasonCode, Position) {
        let (share, path) = split(&subscription.filter, settings);
        if share.is_some() && !settings.features.shared {
            return (ReasonCode::SharedSubscriptionsNotSupported, Position::NONE);
        }
        if subscription.filter.has_wildcard() && !settings.features.wildcards {
            return (ReasonCode::WildcardSubscriptionsNotSupported, Position::NONE);
        }
        let options = &subscription.options;
        let request = Request {
            filter: subscription.filter.as_str(),
            share,
            path,
            options: SubscriptionOptions {
                qos: to_core(options.qos).min(highest(settings)),
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                id,
            },
            retain_handling: match options.retain_handling {
                WireRetainHandling::Send => RetainHandling::SendAtSubscribe,
                WireRetainHandling::SendIfNew => RetainHandling::SendIfNew,
                WireRetainHandling::DoNotSend => RetainHandling::DoNotSend,
            },
        };
        match cx.shared.vhost.subscribe(&self.attachment, &request, cx.effects) {
            Ok((Qos::AtMostOnce, at)) => (ReasonCode::Success, at),
            Ok((Qos::AtLeastOnce, at)) => (ReasonCode::GrantedQos1, at),
            Ok((Qos::ExactlyOnce, at)) => (ReasonCode::GrantedQos2, at),
            Err(Refused::Denied) => (ReasonCode::NotAuthorized, Position::NONE),
            Err(Refused::Quota) => {
                cx.effects.counters.refused_subscriptions += 1;
                (ReasonCode::QuotaExceeded, Position::NONE)
            }
            Err(Refused::NoRoom) => (ReasonCode::QuotaExceeded, Position::NONE),
            Err(Refused::Gone) => (ReasonCode::UnspecifiedError, Position::NONE),
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        packet: &Unsubscribe<'_>,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) {
        let mut codes: SmallVec<[ReasonCode; 8]> = SmallVec::new();
        let mut position = Position::NONE;
        for filter in packet.filters {
            let (existed, at) =
                cx.shared.vhost.unsubscribe(&self.attachment, filter.as_str(), cx.now, cx.effects);
            position = position.max(at);
            codes.push(if existed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        let unsuback = UnsubAck {
            packet_id: packet.packet_id,
            properties: UnsubAckProperties::default(),
            reason_codes: codes.as_slice().into(),
        };
        let (version, durable) = (self.version, cx.shared.vhost.durable());
        self.inflow.answer(position, durable, out, false, |out| {
            answer(&Packet::UnsubAck(unsuback), version, out);
        });
    }
}

/// The share name and the part of a filter that topics are matched against.
fn split<'a>(filter: &TopicFilter<'a>, settings: &ListenerSettings) -> (Option<&'a str>, &'a str) {
    match filter.shared() {
        Some(share) if share.legacy && !settings.features.legacy_queue => (None, filter.as_str()),
        Some(share) if share.legacy => (Some(LEGACY_QUEUE), filter.filter()),
        Some(share) => (Some(share.group), filter.filter()),
        None => (None, filter.filter()),
    }
}
