//! Bytes waiting to be written, one buffer per connection.
//!
//! A protocol appends to any connection's buffer while it handles another's input; the event loop writes
//! each touched buffer once at the end of the turn.

/// Names a connection of one [`EventLoop`](super::EventLoop); never reused within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) usize);

impl LinkId {
    /// The connection's place in the order of opening, from zero.
    pub fn index(self) -> usize {
        self.0
    }
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
    pub(super) close: bool,
    dirty: bool,
}

impl Outbox {
    /// Gives back the space of what was written, so that a buffer that never runs empty does not grow; only
    /// once that is half of it, so that no byte is moved twice on average.
    pub(super) fn forget_written(&mut self) {
        if self.written * 2 >= self.bytes.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }
}

/// The write buffers of all connections of an event loop.
#[derive(Debug, Default)]
pub struct Outboxes {
    boxes: Vec<Outbox>,
    dirty: Vec<LinkId>,
}

impl Outboxes {
    /// The connection's buffer, to append to; it is written at the end of the turn.
    #[inline]
    pub fn buffer(&mut self, link: LinkId) -> &mut Vec<u8> {
        self.touch(link);
        &mut self.boxes[link.0].bytes
    }

    /// Bytes of the connection that the kernel has not taken yet.
    #[inline]
    pub fn pending(&self, link: LinkId) -> usize {
        let outbox = &self.boxes[link.0];
        outbox.bytes.len() - outbox.written
    }

    /// Closes the connection once its buffer is written.
    pub fn close(&mut self, link: LinkId) {
        self.touch(link);
        self.boxes[link.0].close = true;
    }

    #[inline]
    fn touch(&mut self, link: LinkId) {
        let outbox = &mut self.boxes[link.0];
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(link);
        }
    }

    pub(super) fn add(&mut self) -> LinkId {
        self.boxes.push(Outbox::default());
        LinkId(self.boxes.len() - 1)
    }

    pub(super) fn outbox(&mut self, link: LinkId) -> &mut Outbox {
        &mut self.boxes[link.0]
    }

    pub(super) fn discard(&mut self, link: LinkId) {
        let outbox = &mut self.boxes[link.0];
        *outbox = Outbox { dirty: outbox.dirty, ..Outbox::default() };
    }

    /// Takes the touched connections; hand the vector back with [`Outboxes::recycle`].
    pub(super) fn take_dirty(&mut self) -> Vec<LinkId> {
        let dirty = std::mem::take(&mut self.dirty);
        for link in &dirty {
            self.boxes[link.0].dirty = false;
        }
        dirty
    }

    pub(super) fn recycle(&mut self, mut dirty: Vec<LinkId>) {
        if self.dirty.is_empty() {
            dirty.clear();
            self.dirty = dirty;
        }
    }
}
