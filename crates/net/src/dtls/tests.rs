//! Clients and servers against each other, without sockets and on a clock of the tests.

mod acceptor;
mod handshake;
mod libcoap;
mod network;
