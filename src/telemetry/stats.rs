//! `$sys/stats`: what a [`Report`] says of the last second, as one JSON object. Its shape is in docs/protocol.md.
