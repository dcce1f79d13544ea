//! Requests and their answers.

use tercet_coap::{Code, Kind, Number};

use super::client::{Client, request, start, with_payload};

#[test]
fn a_value_is_put_and_read() {
    let server = start(|_| {});
    let mut client = Client::new(&server);
    assert_eq!(client.ask(&with_payload(Code::PUT, "ps/a", b"21.5")).code(), Code::CREATED);
    assert_eq!(client.ask(&with_payload(Code::PUT, "ps/a", b"21.6")).code(), Code::CHANGED);
    let reply = client.ask(&request(Code::GET, "ps/a"));
    assert_eq!((reply.code(), reply.payload()), (Code::CONTENT, &b"21.6"[..]));
    assert_eq!(client.ask(&request(Code::GET, "ps/b")).code(), Code::NOT_FOUND);
}

#[test]
fn a_repeated_request_is_answered_the_same_and_done_once() {
    let server = start(|_| {});
    let client = Client::new(&server);
    let put = with_payload(Code::PUT, "ps/once", b"1");
    for _ in 0..2 {
        client.send_as(Kind::Confirmable, 77, &put);
        let reply = client.receive();
        assert_eq!((reply.id, reply.code()), (77, Code::CREATED));
    }
}

#[test]
fn what_cannot_be_understood_is_refused_before_anything_is_looked_for() {
    let server = start(|_| {});
    let mut client = Client::new(&server);
    let mut strange = request(Code::GET, "nowhere");
    strange.add(Number(9999), &[]);
    assert_eq!(client.ask(&strange).code(), Code::BAD_OPTION);
    let id = client.send(Kind::NonConfirmable, &strange);
    let reply = client.receive();
    assert_eq!((reply.kind, reply.id, reply.code()), (Kind::Reset, id, Code::EMPTY));
    assert_eq!(client.ask(&request(Code(31), "nowhere")).code(), Code::METHOD_NOT_ALLOWED);
    let mut proxied = request(Code::GET, "");
    proxied.add(Number::PROXY_URI, b"coap://127.0.0.1/");
    assert_eq!(client.ask(&proxied).code(), Code::PROXYING_NOT_SUPPORTED);
    client.send_bytes(&[0x40, 0, 0, 1]);
    let pong = client.receive();
    assert_eq!((pong.kind, pong.id), (Kind::Reset, 1));
}

#[test]
fn unwanted_responses_are_not_sent_but_acknowledged() {
    let server = start(|_| {});
    let mut client = Client::new(&server);
    let mut quiet = with_payload(Code::PUT, "ps/quiet", b"1");
    quiet.add(Number::NO_RESPONSE, &[26]);
    assert_eq!(client.ask(&quiet).code(), Code::EMPTY);
    client.send(Kind::NonConfirmable, &quiet);
    // The next thing to come is the answer to this.
    assert_eq!(client.ask(&request(Code::GET, "ps/quiet")).payload(), b"1");
}

#[test]
fn large_bodies_travel_in_blocks() {
    let server = start(|_| {});
    let mut client = Client::new(&server);
    let body: Vec<u8> = (0..2500_u32).map(|n| n as u8).collect();
    for (number, block) in body.chunks(1024).enumerate() {
        let is_last = number == 2;
        let value = (number as u32) << 4 | u32::from(!is_last) << 3 | 6;
        let mut put = with_payload(Code::PUT, "ps/large", block);
        put.set_uint(Number::BLOCK1, value);
        let reply = client.ask(&put);
        assert_eq!(reply.code(), if is_last { Code::CREATED } else { Code::CONTINUE });
        assert_eq!(reply.uint(Number::BLOCK1), Some(value));
    }
    let mut read = Vec::new();
    for number in 0..5 {
        let mut get = request(Code::GET, "ps/large");
        get.set_uint(Number::BLOCK2, number << 4 | 5);
        let reply = client.ask(&get);
        assert_eq!(reply.uint(Number::BLOCK2), Some(number << 4 | u32::from(number < 4) << 3 | 5));
        assert_eq!(reply.uint(Number::SIZE2), (number == 0).then_some(2500));
        read.extend_from_slice(reply.payload());
    }
    assert_eq!(read, body);
    let mut beyond = request(Code::GET, "ps/large");
    beyond.set_uint(Number::BLOCK2, 9 << 4 | 5);
    assert_eq!(client.ask(&beyond).code(), Code::BAD_REQUEST);
    let mut out_of_order = with_payload(Code::PUT, "ps/large", &[0; 16]);
    out_of_order.set_uint(Number::BLOCK1, 3 << 4 | 8);
    assert_eq!(client.ask(&out_of_order).code(), Code::REQUEST_ENTITY_INCOMPLETE);
}
