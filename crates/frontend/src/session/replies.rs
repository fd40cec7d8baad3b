//! Replies of a turn on their way out, and what the turn cost.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bitroster_command::{
    Reply, lookup,
    table::{CommandSpec, Flags},
};
use bitroster_resp::Encoder;
use bytes::BytesMut;

use super::{
    dialog::{Dialog, Mute},
    listen::tell,
    tally::Turned,
};
use crate::{admin, catalog, encode::encode};

impl Dialog {
    /// Waits for every reply of the turn and appends them to `out`. Returns what the turn took
    /// where it was slow.
    pub(super) async fn answer(&mut self, out: &mut BytesMut) -> Option<Turned> {
        if self.turn.is_empty() {
            return None;
        }
        self.turn.flush().await;
        let (is_muted, protocol) = (self.mute != Mute::Nothing, self.protocol);
        let turned = self.hand_out(|reply| {
            if !is_muted {
                encode(&reply, &mut Encoder::new(out, protocol));
            }
        });
        if self.mute == Mute::Next {
            self.mute = Mute::Nothing;
        }
        (turned.requests > 0 && self.is_slow(turned.took)).then_some(turned)
    }

    /// Hands out the replies of a turn that was flushed, counts them, and tells those who listen to
    /// keys what they confirm.
    pub(super) fn hand_out(&mut self, mut to: impl FnMut(Reply)) -> Turned {
        let Self { turn, tally, events, shared, .. } = self;
        let mut events = events.drain(..).peekable();
        let mut place = 0;
        turn.drain(|reply| {
            if let Reply::Error(error) = &reply {
                shared.metrics.add_error(error);
                tally.fail(&shared.metrics, place);
            }
            if let Some((_, events)) = events.next_if(|(at, _)| *at == place) {
                tell(shared, &events, &reply);
            }
            to(reply);
            place += 1;
        });
        tally.settle(&shared.metrics, place)
    }

    /// Whether the slow log is to know of something that took so long; the latency monitor is told
    /// here.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if self.shared.latency.takes(millis) {
            self.shared.latency.note("command", admin::unix_time().as_secs(), millis);
        }
        self.shared.slowlog.takes(took)
    }

    /// Writes a slow request into the slow log; `more` requests were answered with it.
    #[cold]
    pub(super) fn log_slow(&self, args: &[&[u8]], more: usize, took: Duration) {
        let spec = args.first().and_then(|name| lookup(name));
        let is_kept = spec
            .is_none_or(|spec| !spec.flags.contains(Flags::SKIP_SLOWLOG) || spec.name == "exec");
        if is_kept {
            if let Some(spec) = spec {
                self.shared.metrics.add_slow(catalog::index(spec));
            }
            let who = (self.client.addr.to_string(), self.client.names.lock().name.clone());
            self.shared.slowlog.add(args, more, took, admin::unix_time(), who);
        }
    }

    /// Counts a request for `spec`.
    #[inline]
    pub(super) fn count(&mut self, spec: &'static CommandSpec) {
        let index = catalog::index(spec);
        if self.tally.take(Some(index)) {
            self.client.last_command.store(index, Relaxed);
        }
    }
}
