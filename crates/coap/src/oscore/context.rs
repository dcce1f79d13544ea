//! Security contexts: what two sides share, and what each keeps about itself and the others (RFC 8613 §3).

use alloc::vec::Vec;
use core::fmt;

use smallvec::SmallVec;

use super::crypto::{self, Cipher, Derivation, Nonce};
use super::error::ParametersError;
use super::replay::ReplayWindow;
use super::sequence::Sequence;
use super::{ID_MAX, REPLAY_WINDOW};

/// An identifier of a side.
pub(super) type Id = SmallVec<[u8; ID_MAX]>;

/// What both sides agreed on beforehand.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The master secret, from which all keys come.
    pub master_secret: Vec<u8>,
    /// The master salt; may be empty.
    pub master_salt: Vec<u8>,
    /// The ID Context, which tells contexts with the same identifiers apart.
    pub id_context: Option<Vec<u8>>,
    /// Who we are, up to 7 bytes.
    pub sender_id: Vec<u8>,
    /// Who the others are, up to 7 bytes each; a client has one.
    pub recipient_ids: Vec<Vec<u8>>,
    /// Size of the replay window, 1 to 64.
    pub replay_window: u8,
    /// After a restart, let the first request show that it is fresh (Appendix B.1.2).
    pub echo_after_restart: bool,
}

impl Parameters {
    /// Parameters with one recipient, without salt and ID Context, with the window of the specification.
    pub fn new(master_secret: &[u8], sender_id: &[u8], recipient_id: &[u8]) -> Self {
        Self {
            master_secret: master_secret.to_vec(),
            master_salt: Vec::new(),
            id_context: None,
            sender_id: sender_id.to_vec(),
            recipient_ids: alloc::vec![recipient_id.to_vec()],
            replay_window: REPLAY_WINDOW,
            echo_after_restart: true,
        }
    }

    pub(super) fn check(&self) -> Result<(), ParametersError> {
        if self.master_secret.is_empty() {
            return Err(ParametersError::NoSecret);
        }
        if self.id_context.as_ref().is_some_and(|context| context.len() > 255) {
            return Err(ParametersError::IdContextTooLong);
        }
        if self.recipient_ids.is_empty() {
            return Err(ParametersError::NoRecipient);
        }
        if !(1..=64).contains(&self.replay_window) {
            return Err(ParametersError::Window);
        }
        let mut sides: Vec<&[u8]> = self.recipient_ids.iter().map(Vec::as_slice).collect();
        sides.push(&self.sender_id);
        if sides.iter().any(|id| id.len() > ID_MAX) {
            return Err(ParametersError::IdTooLong);
        }
        sides.sort_unstable();
        if sides.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(ParametersError::SameId);
        }
        Ok(())
    }
}

impl fmt::Debug for Parameters {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters")
            .field("sender_id", &self.sender_id)
            .field("recipient_ids", &self.recipient_ids)
            .field("id_context", &self.id_context)
            .finish_non_exhaustive()
    }
}

/// A security context. One sender serves all recipients of it: they share the key that it sends with, and its sequence.
pub struct Context {
    pub(super) common_iv: Nonce,
    pub(super) id_context: Option<Vec<u8>>,
    pub(super) sender_id: Id,
    pub(super) sender: Cipher,
    key_name: [u8; 16],
    /// The sequence numbers of the sender.
    pub sequence: Sequence,
    pub(super) recipients: Vec<RecipientState>,
}

/// Names one of the recipients of a context, by its place in [`Parameters::recipient_ids`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipient(pub usize);

pub(super) struct RecipientState {
    pub(super) id: Id,
    pub(super) cipher: Cipher,
    pub(super) window: ReplayWindow,
    /// What an Echo option has to say before the window can be believed.
    pub(super) challenge: Option<[u8; 8]>,
}

impl Context {
    /// Derives the keys of a context that begins its sequence as told.
    pub fn new(parameters: &Parameters, sequence: Sequence) -> Result<Self, ParametersError> {
        parameters.check()?;
        let derivation = Derivation {
            secret: &parameters.master_secret,
            salt: &parameters.master_salt,
            id_context: parameters.id_context.as_deref(),
        };
        let recipients = parameters.recipient_ids.iter().map(|id| RecipientState {
            id: Id::from_slice(id),
            cipher: derivation.cipher(id),
            window: ReplayWindow::new(parameters.replay_window),
            challenge: None,
        });
        Ok(Self {
            common_iv: derivation.common_iv(),
            id_context: parameters.id_context.clone(),
            sender_id: Id::from_slice(&parameters.sender_id),
            sender: derivation.cipher(&parameters.sender_id),
            key_name: derivation.key_name(&parameters.sender_id),
            sequence,
            recipients: recipients.collect(),
        })
    }

    /// Forgets which requests were seen, as a restart does: the first request of each recipient is answered with a
    /// challenge until one comes with this Echo. The value is not to be guessed (Appendix B.1.2).
    pub fn after_restart(&mut self, echo: [u8; 8]) {
        for recipient in &mut self.recipients {
            recipient.challenge = Some(echo);
        }
    }

    /// A name for the key that the sender sends with, from which nothing of it can be learned: what numbers are stored
    /// under.
    pub const fn key_name(&self) -> &[u8; 16] {
        &self.key_name
    }

    /// The ID Context.
    pub fn id_context(&self) -> Option<&[u8]> {
        self.id_context.as_deref()
    }

    /// The identifiers of those that may send to it.
    pub fn recipient_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.recipients.iter().map(|recipient| recipient.id.as_slice())
    }

    /// The recipient that a message with this header comes from. A header without ID Context fits any.
    pub fn recipient(&self, header: &super::Header<'_>) -> Option<Recipient> {
        let fits = header.kid_context.is_none_or(|context| self.id_context() == Some(context));
        let kid = header.kid?;
        self.recipients.iter().position(|recipient| fits && recipient.id.as_slice() == kid).map(Recipient)
    }
}

impl fmt::Debug for Context {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("sender_id", &self.sender_id)
            .field("id_context", &self.id_context)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What ties responses to their request. It cannot be copied, because two responses must not use the nonce of the
/// request (RFC 8613 §5.3).
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange {
    pub(super) recipient: Recipient,
    pub(super) request_kid: Id,
    pub(super) request_number: u64,
    /// The nonce of the request can still be used for a response.
    pub(super) is_nonce_free: bool,
    /// The highest number of a notification so far.
    pub(super) notified: Option<u64>,
}

impl Exchange {
    pub(super) const fn new(recipient: Recipient, request_kid: Id, request_number: u64) -> Self {
        Self { recipient, request_kid, request_number, is_nonce_free: true, notified: None }
    }

    /// A second one for the same request, which never uses its nonce: for notifications, or where requests may be
    /// replays.
    pub fn for_notifications(&self) -> Self {
        Self {
            recipient: self.recipient,
            request_kid: self.request_kid.clone(),
            request_number: self.request_number,
            is_nonce_free: false,
            notified: self.notified,
        }
    }

    /// Who the exchange is with.
    pub const fn recipient(&self) -> Recipient {
        self.recipient
    }

    pub(super) fn aad(&self) -> Vec<u8> {
        super::cose::aad(&self.request_kid, &crypto::partial_iv(self.request_number))
    }

    pub(super) fn nonce(&self, common_iv: &Nonce) -> Nonce {
        crypto::nonce(common_iv, &self.request_kid, self.request_number)
    }
}
