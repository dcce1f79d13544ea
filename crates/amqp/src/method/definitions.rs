//! The table of all classes and methods: AMQP 0-9-1 and RabbitMQ's extensions, with RabbitMQ's numbers.

use crate::error::{EncodeError, ErrorKind};
use crate::method::{MethodId, MethodInfo};
use crate::wire::reader::Reader;

methods! {
    <'a>
    /// Opening, tuning and closing the connection; on channel 0 only.
    class connection = 10 {
        /// The server says what it is and can.
        Start<'a> as ConnectionStart = 10, "start", Server, false, [11] {
            /// The major version of the protocol, 0.
            version_major: u8,
            /// The minor version, 9.
            version_minor: u8,
            /// What the server says of itself, with its `capabilities`.
            server_properties: Table<'a>,
            /// SASL mechanisms, separated by spaces.
            mechanisms: &'a [u8],
            /// Locales, separated by spaces.
            locales: &'a [u8],
        }

        /// The client chooses a mechanism and a locale.
        StartOk<'a> as ConnectionStartOk = 11, "start-ok", Client, false, [] {
            /// What the client says of itself, with its `capabilities`.
            client_properties: Table<'a>,
            /// The SASL mechanism chosen.
            mechanism: &'a str,
            /// The mechanism's initial response.
            response: &'a [u8],
            /// The locale chosen.
            locale: &'a str,
        }

        /// A challenge of the SASL mechanism.
        Secure<'a> as ConnectionSecure = 20, "secure", Server, false, [21] {
            /// The challenge.
            challenge: &'a [u8],
        }

        /// The response to a challenge.
        SecureOk<'a> as ConnectionSecureOk = 21, "secure-ok", Client, false, [] {
            /// The response.
            response: &'a [u8],
        }

        /// The server proposes parameters.
        Tune as ConnectionTune = 30, "tune", Server, false, [31] {
            /// The highest channel number, 0 for no limit.
            channel_max: u16,
            /// The greatest frame in bytes, 0 for no limit.
            frame_max: u32,
            /// Seconds between heartbeats, 0 for none.
            heartbeat: u16,
        }

        /// The client settles the parameters.
        TuneOk as ConnectionTuneOk = 31, "tune-ok", Client, false, [] {
            /// The highest channel number, 0 for no limit.
            channel_max: u16,
            /// The greatest frame in bytes, 0 for no limit.
            frame_max: u32,
            /// Seconds between heartbeats, 0 for none.
            heartbeat: u16,
        }

        /// The client opens a virtual host.
        Open<'a> as ConnectionOpen = 40, "open", Client, false, [41] {
            /// The name of the virtual host.
            virtual_host: &'a str,
            ; [&'a str] [bool]
        }

        /// The virtual host is open.
        OpenOk as ConnectionOpenOk = 41, "open-ok", Server, false, [] {
            ; [&'a str]
        }

        /// Either side closes the connection.
        Close<'a> as ConnectionClose = 50, "close", Both, false, [51] {
            /// Why, a number of [`ReplyCode`](crate::ReplyCode).
            reply_code: u16,
            /// Why, in words.
            reply_text: &'a str,
            /// The class of the method that failed, or 0.
            class_id: u16,
            /// The method that failed, or 0.
            method_id: u16,
        }

        /// The other side has closed too; nothing follows.
        CloseOk as ConnectionCloseOk = 51, "close-ok", Both, false, [] {}

        /// The server does not take messages for now (RabbitMQ).
        Blocked<'a> as ConnectionBlocked = 60, "blocked", Server, false, [] {
            /// Why.
            reason: &'a str,
        }

        /// The server takes messages again (RabbitMQ).
        Unblocked as ConnectionUnblocked = 61, "unblocked", Server, false, [] {}

        /// The client renews its credentials (RabbitMQ).
        UpdateSecret<'a> as ConnectionUpdateSecret = 70, "update-secret", Client, false, [71] {
            /// The new secret.
            new_secret: &'a [u8],
            /// Why.
            reason: &'a str,
        }

        /// The new secret is in use (RabbitMQ).
        UpdateSecretOk as ConnectionUpdateSecretOk = 71, "update-secret-ok", Server, false, [] {}
    }

    /// Opening and closing channels.
    class channel = 20 {
        /// Opens a channel.
        Open as ChannelOpen = 10, "open", Client, false, [11] {
            ; [&'a str]
        }

        /// The channel is open.
        OpenOk as ChannelOpenOk = 11, "open-ok", Server, false, [] {
            ; [&'a [u8]]
        }

        /// Pauses or resumes the other side's messages.
        Flow as ChannelFlow = 20, "flow", Both, false, [21] {
            /// Messages may flow.
            active: bool,
        }

        /// Answers a flow.
        FlowOk as ChannelFlowOk = 21, "flow-ok", Both, false, [] {
            /// Messages may flow.
            active: bool,
        }

        /// Either side closes the channel.
        Close<'a> as ChannelClose = 40, "close", Both, false, [41] {
            /// Why, a number of [`ReplyCode`](crate::ReplyCode).
            reply_code: u16,
            /// Why, in words.
            reply_text: &'a str,
            /// The class of the method that failed, or 0.
            class_id: u16,
            /// The method that failed, or 0.
            method_id: u16,
        }

        /// The channel is closed on both sides.
        CloseOk as ChannelCloseOk = 41, "close-ok", Both, false, [] {}
    }

    /// Access tickets of older versions; parsed, and meaningless since 0-9-1.
    class access = 30 {
        /// Asks for a ticket.
        Request<'a> as AccessRequest = 10, "request", Client, false, [11] {
            /// The realm.
            realm: &'a str,
            /// Exclusive access.
            exclusive: bool,
            /// Passive access.
            passive: bool,
            /// Active access.
            active: bool,
            /// Write access.
            write: bool,
            /// Read access.
            read: bool,
        }

        /// Grants a ticket.
        RequestOk as AccessRequestOk = 11, "request-ok", Server, false, [] {
            /// The ticket.
            ticket: u16,
        }
    }

    /// Exchanges and the bindings between them.
    class exchange = 40 {
        /// Creates an exchange, or checks that it is there.
        Declare<'a> as ExchangeDeclare = 10, "declare", Client, false, [11] {
            [u16]
            /// The name.
            exchange: &'a str,
            /// The type, such as `topic`.
            kind: &'a str,
            /// Only check that it exists.
            passive: bool,
            /// It survives a restart.
            durable: bool,
            /// It goes with its last binding.
            auto_delete: bool,
            /// Only other exchanges may publish to it.
            internal: bool,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments, such as `alternate-exchange`.
            arguments: Table<'a>,
        }

        /// The exchange is there.
        DeclareOk as ExchangeDeclareOk = 11, "declare-ok", Server, false, [] {}

        /// Deletes an exchange.
        Delete<'a> as ExchangeDelete = 20, "delete", Client, false, [21] {
            [u16]
            /// The name.
            exchange: &'a str,
            /// Only without bindings.
            if_unused: bool,
            /// No answer is wanted.
            no_wait: bool,
        }

        /// The exchange is gone.
        DeleteOk as ExchangeDeleteOk = 21, "delete-ok", Server, false, [] {}

        /// Binds an exchange to another (RabbitMQ).
        Bind<'a> as ExchangeBind = 30, "bind", Client, false, [31] {
            [u16]
            /// Where messages go.
            destination: &'a str,
            /// Where they come from.
            source: &'a str,
            /// The key of the binding.
            routing_key: &'a str,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments of the binding.
            arguments: Table<'a>,
        }

        /// The binding is there (RabbitMQ).
        BindOk as ExchangeBindOk = 31, "bind-ok", Server, false, [] {}

        /// Removes a binding between exchanges (RabbitMQ).
        Unbind<'a> as ExchangeUnbind = 40, "unbind", Client, false, [51] {
            [u16]
            /// Where messages went.
            destination: &'a str,
            /// Where they came from.
            source: &'a str,
            /// The key of the binding.
            routing_key: &'a str,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments of the binding.
            arguments: Table<'a>,
        }

        /// The binding is gone (RabbitMQ; its number is 51, not 41).
        UnbindOk as ExchangeUnbindOk = 51, "unbind-ok", Server, false, [] {}
    }

    /// Queues and their bindings.
    class queue = 50 {
        /// Creates a queue, or checks that it is there.
        Declare<'a> as QueueDeclare = 10, "declare", Client, false, [11] {
            [u16]
            /// The name; empty for one that the server makes.
            queue: &'a str,
            /// Only check that it exists.
            passive: bool,
            /// It survives a restart.
            durable: bool,
            /// It belongs to this connection.
            exclusive: bool,
            /// It goes with its last consumer.
            auto_delete: bool,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments, such as `x-message-ttl`.
            arguments: Table<'a>,
        }

        /// The queue is there.
        DeclareOk<'a> as QueueDeclareOk = 11, "declare-ok", Server, false, [] {
            /// The name.
            queue: &'a str,
            /// Messages that are ready.
            message_count: u32,
            /// Its consumers.
            consumer_count: u32,
        }

        /// Binds a queue to an exchange.
        Bind<'a> as QueueBind = 20, "bind", Client, false, [21] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// The exchange.
            exchange: &'a str,
            /// The key of the binding.
            routing_key: &'a str,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments of the binding.
            arguments: Table<'a>,
        }

        /// The binding is there.
        BindOk as QueueBindOk = 21, "bind-ok", Server, false, [] {}

        /// Removes all ready messages.
        Purge<'a> as QueuePurge = 30, "purge", Client, false, [31] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// No answer is wanted.
            no_wait: bool,
        }

        /// The messages are gone.
        PurgeOk as QueuePurgeOk = 31, "purge-ok", Server, false, [] {
            /// How many there were.
            message_count: u32,
        }

        /// Deletes a queue.
        Delete<'a> as QueueDelete = 40, "delete", Client, false, [41] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// Only without consumers.
            if_unused: bool,
            /// Only without messages.
            if_empty: bool,
            /// No answer is wanted.
            no_wait: bool,
        }

        /// The queue is gone.
        DeleteOk as QueueDeleteOk = 41, "delete-ok", Server, false, [] {
            /// How many messages it had.
            message_count: u32,
        }

        /// Removes a binding.
        Unbind<'a> as QueueUnbind = 50, "unbind", Client, false, [51] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// The exchange.
            exchange: &'a str,
            /// The key of the binding.
            routing_key: &'a str,
            /// Arguments of the binding.
            arguments: Table<'a>,
        }

        /// The binding is gone.
        UnbindOk as QueueUnbindOk = 51, "unbind-ok", Server, false, [] {}
    }

    /// Messages.
    class basic = 60 {
        /// Sets how much is delivered before it is acknowledged.
        Qos as BasicQos = 10, "qos", Client, false, [11] {
            /// Bytes in advance, 0 for no limit.
            prefetch_size: u32,
            /// Messages in advance, 0 for no limit.
            prefetch_count: u16,
            /// For the channel as a whole (RabbitMQ's reading), not for each new consumer.
            global: bool,
        }

        /// The limits are set.
        QosOk as BasicQosOk = 11, "qos-ok", Server, false, [] {}

        /// Starts a consumer.
        Consume<'a> as BasicConsume = 20, "consume", Client, false, [21] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// Its tag, empty for one that the server makes.
            consumer_tag: &'a str,
            /// Not one's own messages.
            no_local: bool,
            /// Messages need no acknowledgement.
            no_ack: bool,
            /// Nobody else may consume.
            exclusive: bool,
            /// No answer is wanted.
            no_wait: bool,
            /// Arguments, such as `x-priority`.
            arguments: Table<'a>,
        }

        /// The consumer is there.
        ConsumeOk<'a> as BasicConsumeOk = 21, "consume-ok", Server, false, [] {
            /// Its tag.
            consumer_tag: &'a str,
        }

        /// Ends a consumer; from the server, tells that it has ended (RabbitMQ).
        Cancel<'a> as BasicCancel = 30, "cancel", Both, false, [31] {
            /// Its tag.
            consumer_tag: &'a str,
            /// No answer is wanted.
            no_wait: bool,
        }

        /// The consumer is gone.
        CancelOk<'a> as BasicCancelOk = 31, "cancel-ok", Both, false, [] {
            /// Its tag.
            consumer_tag: &'a str,
        }

        /// Publishes the message that follows.
        Publish<'a> as BasicPublish = 40, "publish", Client, true, [] {
            [u16]
            /// The exchange, empty for the default one.
            exchange: &'a str,
            /// The routing key.
            routing_key: &'a str,
            /// Return it if no queue takes it.
            mandatory: bool,
            /// Return it if no consumer takes it.
            immediate: bool,
        }

        /// Returns the message that follows.
        Return<'a> as BasicReturn = 50, "return", Server, true, [] {
            /// Why, a number of [`ReplyCode`](crate::ReplyCode).
            reply_code: u16,
            /// Why, in words.
            reply_text: &'a str,
            /// The exchange it was published to.
            exchange: &'a str,
            /// Its routing key.
            routing_key: &'a str,
        }

        /// Delivers the message that follows.
        Deliver<'a> as BasicDeliver = 60, "deliver", Server, true, [] {
            /// The consumer.
            consumer_tag: &'a str,
            /// Its number on this channel, from 1.
            delivery_tag: u64,
            /// It may have been delivered before.
            redelivered: bool,
            /// The exchange it was published to.
            exchange: &'a str,
            /// Its routing key.
            routing_key: &'a str,
        }

        /// Asks for one message.
        Get<'a> as BasicGet = 70, "get", Client, false, [71, 72] {
            [u16]
            /// The queue, empty for the one declared last.
            queue: &'a str,
            /// The message needs no acknowledgement.
            no_ack: bool,
        }

        /// Hands over the message that follows.
        GetOk<'a> as BasicGetOk = 71, "get-ok", Server, true, [] {
            /// Its number on this channel, from 1.
            delivery_tag: u64,
            /// It may have been delivered before.
            redelivered: bool,
            /// The exchange it was published to.
            exchange: &'a str,
            /// Its routing key.
            routing_key: &'a str,
            /// Messages that are still ready.
            message_count: u32,
        }

        /// The queue has no message.
        GetEmpty as BasicGetEmpty = 72, "get-empty", Server, false, [] {
            ; [&'a str]
        }

        /// Acknowledges deliveries; from the server, confirms publishes (RabbitMQ).
        Ack as BasicAck = 80, "ack", Both, false, [] {
            /// The delivery, or 0 for all with `multiple`.
            delivery_tag: u64,
            /// All up to it.
            multiple: bool,
        }

        /// Refuses a delivery.
        Reject as BasicReject = 90, "reject", Client, false, [] {
            /// The delivery.
            delivery_tag: u64,
            /// Put it back.
            requeue: bool,
        }

        /// Asks for redelivery without an answer.
        RecoverAsync as BasicRecoverAsync = 100, "recover-async", Client, false, [] {
            /// Put the messages back.
            requeue: bool,
        }

        /// Asks for redelivery of all that is unacknowledged.
        Recover as BasicRecover = 110, "recover", Client, false, [111] {
            /// Put the messages back.
            requeue: bool,
        }

        /// The messages are put back.
        RecoverOk as BasicRecoverOk = 111, "recover-ok", Server, false, [] {}

        /// Refuses deliveries; from the server, publishes (RabbitMQ).
        Nack as BasicNack = 120, "nack", Both, false, [] {
            /// The delivery, or 0 for all with `multiple`.
            delivery_tag: u64,
            /// All up to it.
            multiple: bool,
            /// Put them back.
            requeue: bool,
        }
    }

    /// Publisher confirms (RabbitMQ).
    class confirm = 85 {
        /// Turns confirms on for the channel.
        Select as ConfirmSelect = 10, "select", Client, false, [11] {
            /// No answer is wanted.
            no_wait: bool,
        }

        /// Confirms are on; the next publish is number 1.
        SelectOk as ConfirmSelectOk = 11, "select-ok", Server, false, [] {}
    }

    /// Transactions.
    class tx = 90 {
        /// Makes the channel transactional.
        Select as TxSelect = 10, "select", Client, false, [11] {}

        /// The channel is transactional.
        SelectOk as TxSelectOk = 11, "select-ok", Server, false, [] {}

        /// Commits what was published and acknowledged since.
        Commit as TxCommit = 20, "commit", Client, false, [21] {}

        /// It is committed.
        CommitOk as TxCommitOk = 21, "commit-ok", Server, false, [] {}

        /// Forgets what was published and acknowledged since.
        Rollback as TxRollback = 30, "rollback", Client, false, [31] {}

        /// It is forgotten.
        RollbackOk as TxRollbackOk = 31, "rollback-ok", Server, false, [] {}
    }
}
