//! Server and client talking to each other, and what either refuses.

use tercet_amqp::content::{ContentHeader, Progress, Properties};
use tercet_amqp::method::{basic, channel, connection, queue, tx};
use tercet_amqp::state::{Channel, Connection, Phase, Role, Verdict};
use tercet_amqp::{FrameType, Method, Payload};

const TAKE: Verdict = Verdict::Take(Progress::Nothing);

fn payload<'a>(method: impl Into<Method<'a>>) -> Payload<'a> {
    Payload::Method(method.into())
}

/// Sends a method from one side to the other.
fn pass<'a>(from: &mut Channel, to: &mut Channel, method: impl Into<Method<'a>>) -> Verdict {
    let method = method.into();
    from.sent(&method);
    to.receive(&Payload::Method(method)).unwrap()
}

fn open_pair() -> (Channel, Channel) {
    let (mut client, mut server) = (Channel::new(7, Role::Client), Channel::new(7, Role::Server));
    assert_eq!(pass(&mut client, &mut server, channel::Open {}), TAKE);
    assert!(server.is_open() && !client.is_open());
    assert_eq!(pass(&mut server, &mut client, channel::OpenOk {}), TAKE);
    assert!(client.is_open());
    (client, server)
}

fn code(channel: &mut Channel, payload: &Payload<'_>) -> u16 {
    let error = channel.receive(payload).unwrap_err();
    assert_eq!(error.channel, channel.number());
    error.code.number()
}

#[test]
fn a_handshake_goes_through_its_phases() {
    let (mut client, mut server) = (Connection::new(Role::Client), Connection::new(Role::Server));
    let step = |from: &mut Connection, to: &mut Connection, method: Method<'static>| {
        from.sent(&method);
        assert_eq!(to.receive(&Payload::Method(method)), Ok(TAKE), "{method:?}");
    };
    assert_eq!(server.admit(1, FrameType::Method).unwrap_err().code.number(), 505);
    step(&mut server, &mut client, connection::Start::default().into());
    step(&mut client, &mut server, connection::StartOk::default().into());
    assert_eq!((client.phase(), server.phase()), (Phase::Authentication, Phase::Authentication));
    for _ in 0..2 {
        step(&mut server, &mut client, connection::Secure::default().into());
        step(&mut client, &mut server, connection::SecureOk::default().into());
    }
    step(&mut server, &mut client, connection::Tune::default().into());
    step(&mut client, &mut server, connection::TuneOk::default().into());
    step(&mut client, &mut server, connection::Open::default().into());
    assert_eq!(server.phase(), Phase::Open);
    step(&mut server, &mut client, connection::OpenOk {}.into());
    assert_eq!((client.phase(), server.phase()), (Phase::Running, Phase::Running));
    assert_eq!(server.admit(1, FrameType::Body), Ok(TAKE));
    step(&mut server, &mut client, connection::Blocked { reason: "low on memory" }.into());
    step(&mut server, &mut client, connection::Unblocked {}.into());
    step(&mut client, &mut server, connection::UpdateSecret::default().into());
    step(&mut server, &mut client, connection::UpdateSecretOk {}.into());
    assert_eq!(client.receive(&payload(connection::UpdateSecretOk {})).unwrap_err().code.number(), 503);
    assert_eq!(server.receive(&Payload::Heartbeat), Ok(TAKE));

    client.sent(&connection::Close::default().into());
    assert_eq!(client.admit(1, FrameType::Body), Ok(Verdict::Discard));
    assert_eq!(client.receive(&payload(connection::Blocked { reason: "" })), Ok(Verdict::Discard));
    assert_eq!(
        client.receive(&payload(connection::Close::default())),
        Ok(Verdict::AnswerClose),
        "both at once"
    );
    assert_eq!(client.receive(&payload(connection::CloseOk {})), Ok(Verdict::Closed));
    assert_eq!(server.receive(&payload(connection::Close::default())), Ok(Verdict::AnswerClose));
    assert_eq!((client.phase(), server.phase()), (Phase::Closed, Phase::Closed));
    assert_eq!(server.receive(&Payload::Heartbeat), Ok(Verdict::Discard));
}

#[test]
fn methods_out_of_phase_are_invalid() {
    let start_ok = payload(connection::StartOk::default());
    let open = payload(connection::Open::default());
    let tune_ok = payload(connection::TuneOk::default());
    let secure_ok = payload(connection::SecureOk::default());
    let cases: [(&[&Payload<'_>], &Payload<'_>); 6] = [
        (&[], &open),
        (&[], &tune_ok),
        (&[&start_ok], &start_ok),
        (&[&start_ok], &secure_ok),
        (&[&start_ok], &tune_ok),
        (&[], &payload(basic::Ack::default())),
    ];
    for (before, wrong) in cases {
        let mut server = Connection::new(Role::Server);
        before.iter().for_each(|payload| assert_eq!(server.receive(payload), Ok(TAKE)));
        let error = server.receive(wrong).unwrap_err();
        assert_eq!((error.code.number(), error.ends_connection()), (504, true), "{wrong:?}");
    }
    let mut server = Connection::new(Role::Server);
    server.receive(&start_ok).unwrap();
    server.sent(&connection::Tune::default().into());
    server.receive(&tune_ok).unwrap();
    server.receive(&open).unwrap();
    assert_eq!(server.receive(&open).unwrap_err().code.number(), 504, "opened once only");
    let body = Payload::Body(b"x");
    assert_eq!(server.receive(&body).unwrap_err().code.number(), 505);
}

#[test]
fn a_channel_is_opened_first_and_once() {
    let mut server = Channel::new(7, Role::Server);
    for first in [payload(queue::Declare::default()), payload(channel::Close::default()), Payload::Body(b"x")]
    {
        assert_eq!(code(&mut server, &first), 504);
    }
    assert_eq!(code(&mut server, &payload(connection::Open::default())), 503, "it belongs to channel 0");
    let (mut client, mut server) = open_pair();
    assert_eq!(code(&mut server, &payload(channel::Open {})), 504);
    assert_eq!(code(&mut server, &payload(connection::Blocked::default())), 503);
    assert_eq!(code(&mut server, &payload(basic::QosOk {})), 503, "only servers send it");
    assert_eq!(code(&mut client, &payload(basic::Publish::default())), 503, "only clients send it");
}

#[test]
fn after_a_close_all_is_discarded_until_the_answer() {
    let (mut client, mut server) = open_pair();
    assert_eq!(server.receive(&payload(basic::Publish::default())), Ok(Verdict::Take(Progress::Begun)));
    server.sent(&channel::Close { reply_code: 404, ..Default::default() }.into());
    for late in [
        Payload::Header(ContentHeader::basic(3, Properties::default())),
        Payload::Body(b"abc"),
        payload(queue::Declare::default()),
        payload(channel::Open {}),
    ] {
        assert_eq!(server.receive(&late), Ok(Verdict::Discard));
    }
    assert_eq!(server.receive(&payload(channel::Close::default())), Ok(Verdict::AnswerClose), "crossing");
    assert!(!server.is_closed());
    assert_eq!(server.receive(&payload(channel::CloseOk {})), Ok(Verdict::Closed));
    assert!(server.is_closed());
    assert_eq!(server.receive(&payload(channel::Open {})), Ok(TAKE), "the number is free");

    assert_eq!(client.receive(&payload(channel::Close::default())), Ok(Verdict::AnswerClose));
    assert!(client.is_closed());
    client.sent(&channel::Open {}.into());
    assert_eq!(client.receive(&payload(channel::OpenOk {})), Ok(TAKE));
}

#[test]
fn answers_come_in_the_order_of_requests() {
    let (mut client, mut server) = open_pair();
    pass(&mut client, &mut server, queue::Declare::default());
    pass(&mut client, &mut server, queue::Bind { no_wait: true, ..Default::default() });
    pass(&mut client, &mut server, basic::Get::default());
    pass(&mut client, &mut server, tx::Select {});
    assert_eq!(client.awaited_answers(), 3);
    let wrong = payload(queue::BindOk {});
    assert_eq!(client.clone().receive(&wrong).unwrap_err().code.number(), 503, "nobody waits for it");
    assert_eq!(
        client.clone().receive(&payload(basic::GetEmpty {})).unwrap_err().code.number(),
        503,
        "too early"
    );
    assert_eq!(pass(&mut server, &mut client, queue::DeclareOk::default()), TAKE);
    let deliver = basic::Deliver::default();
    assert_eq!(pass(&mut server, &mut client, deliver), Verdict::Take(Progress::Begun));
    let header = Payload::Header(ContentHeader::basic(0, Properties::default()));
    assert_eq!(client.receive(&header), Ok(Verdict::Take(Progress::Complete)));
    assert_eq!(pass(&mut server, &mut client, basic::GetEmpty {}), TAKE);
    assert_eq!(pass(&mut server, &mut client, tx::SelectOk {}), TAKE);
    assert_eq!(client.awaited_answers(), 0);
}

#[test]
fn a_server_cancels_consumers_and_holds_messages_back() {
    let (mut client, mut server) = open_pair();
    assert_eq!(pass(&mut server, &mut client, basic::Cancel { consumer_tag: "c", no_wait: true }), TAKE);
    assert_eq!(pass(&mut server, &mut client, channel::Flow { active: false }), TAKE);
    assert!(!client.may_send_content() && server.may_send_content());
    assert_eq!(pass(&mut client, &mut server, channel::FlowOk { active: false }), TAKE);
    assert_eq!(pass(&mut server, &mut client, channel::Flow { active: true }), TAKE);
    assert!(client.may_send_content());
    assert_eq!(code(&mut server, &payload(channel::CloseOk {})), 503);
}
