//! Who a connection is: its token at the handshake or in band, what the token grants, and its end.
//!
//! Without `[auth]` everybody is a stranger and nothing here says no. With it a token or an API key makes a connection a
//! user until it expires; strangers are let in only where the operator allows them, others get `auth.in_band_ms_max` to
//! say who they are. Invariant: `Connection::until` is when the identity ends, or the time to give one; the wheel never
//! files an open connection for later.

use std::cell::RefCell;
use std::rc::Rc;

use super::Shard;
use super::connection::CloseReason;
use crate::auth::{Identity, TokenError};
use crate::config::AllowAnonymous;
use crate::ids::{ConnId, Tick};
use crate::protocol::{Id, reply};
use crate::rules::Permit;
use crate::topic::{Filter, STATS, Topic};

/// The user behind a connection.
pub(super) struct User {
    identity: Identity,
    /// What an HTTP connection sent to be this user: sent again, it is not checked again.
    credential: Option<Box<str>>,
    /// The last topic published to and whether that is granted: grants are not looked through for each publication.
    last: RefCell<(Box<str>, bool)>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl User {
    pub(super) fn new(identity: Identity, credential: Option<&str>) -> Rc<Self> {
        let credential = credential.map(Box::from);
        Rc::new(Self { identity, credential, last: RefCell::new((Box::default(), false)) })
    }

    /// Whether this credential made it, and still does.
    pub(super) fn is_of(&self, credential: &str, now_unix_s: u64) -> bool {
        self.credential.as_deref() == Some(credential) && !self.identity.is_expired(now_unix_s)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// As every `from` and every list of members names it.
    pub(super) fn name(&self) -> &str {
        &self.identity.user
    }

    /// Whether it may list and end connections.
    pub(super) fn operates(&self) -> bool {
        self.identity.operate
    }

    /// Who it is to the rule of a topic that it publishes to.
    pub(super) fn publishes(&self, topic: Topic<'_>) -> Permit {
        let mut last = self.last.borrow_mut();
        if *last.0 != *topic.as_str() {
            *last = (topic.as_str().into(), self.identity.publish.allows(topic));
        }
        Permit { user: true, granted: last.1 }
    }

    /// Who it is to the rule of what it reads.
    pub(super) fn reads(&self, filter: Filter<'_>) -> Permit {
        let granted = match filter.as_topic() {
            Some(topic) => self.identity.subscribe.allows(topic),
            None => self.identity.subscribe.covers(filter),
        };
        Permit { user: true, granted }
    }
}

impl Shard {
    /// The user of a credential that came with the handshake; none if none came or nobody is known here.
    pub(super) fn identify(&self, credential: Option<&str>) -> Result<Option<Rc<User>>, TokenError> {
        Ok(self.identity(credential)?.map(|identity| User::new(identity, None)))
    }

    /// The same for a request that others may follow.
    pub(super) fn identify_for_requests(&self, credential: Option<&str>) -> Result<Option<Rc<User>>, TokenError> {
        Ok(self.identity(credential)?.map(|identity| User::new(identity, credential)))
    }

    fn identity(&self, credential: Option<&str>) -> Result<Option<Identity>, TokenError> {
        match (&self.settings.credentials, credential) {
            (Some(credentials), Some(credential)) => credentials.identify(credential, self.now_unix_s()).map(Some),
            _ => Ok(None),
        }
    }

    /// Who somebody is to the rule of what it reads. The broker's figures are granted to operators, and where everybody may
    /// see them.
    pub(super) fn permit(&self, user: Option<&User>, filter: Filter<'_>) -> Permit {
        let mut permit = user.map_or_else(Permit::default, |user| user.reads(filter));
        if filter.as_str() == STATS {
            permit.granted |= user.is_some_and(User::operates) || self.shows_figures();
        }
        permit
    }

    /// The time of day, in seconds since 1970.
    #[must_use]
    pub fn now_unix_s(&self) -> u64 {
        self.settings.began_unix_s + self.now_ms / 1000
    }

    fn tick_of(&self, unix_s: u64) -> Tick {
        let ms = unix_s.saturating_sub(self.settings.began_unix_s).saturating_mul(1000);
        Tick::default().after_ms(ms)
    }

    /// Whether whoever has not said who it is may do nothing.
    pub(super) fn shuts_strangers_out(&self) -> bool {
        self.settings.credentials.is_some() && self.settings.config.server.allow_anonymous != AllowAnonymous::Always
    }

    /// When a user's identity ends; a stranger's never does.
    pub(super) fn until(&self, user: Option<&User>) -> Tick {
        user.map_or(Tick(u32::MAX), |user| self.tick_of(user.identity.expires_unix_s))
    }

    /// Notes who an open connection is, and until when.
    pub(super) fn take_identity(&mut self, index: u32, user: Option<Rc<User>>) {
        let until = match &user {
            None if self.shuts_strangers_out() => self.now.after_ms(self.settings.config.auth.in_band_ms_max),
            user => self.until(user.as_deref()),
        };
        let connection = &mut self.connections[index as usize];
        (connection.user, connection.until) = (user, until);
    }

    /// The token of a connection is refused: it is told why, and not to come back with the same.
    pub(super) fn refuse_token(&mut self, index: u32, error: TokenError) {
        self.note_token(index, error);
        let code = if error.is_expired() { 4001 } else { 4501 };
        self.close(index, CloseReason::TokenRefused, code, &error.to_string());
    }

    /// Its token is over, or it did not say in time who it is.
    pub(super) fn lapse(&mut self, index: u32) {
        if self.connections[index as usize].user.is_some() {
            self.close(index, CloseReason::TokenExpired, 4001, "the token expired: come back with a new one");
        } else {
            self.close(index, CloseReason::TokenRefused, 4501, "no token came within auth.in_band_ms_max");
        }
    }

    /// The command `auth`: makes a stranger a user, or gives a user more time and other grants.
    pub(super) fn authenticate(&mut self, conn: ConnId, id: &Id, token: &str) {
        let index = conn.index;
        if self.settings.credentials.is_none() {
            return self.fail(index, id, 404, "op: this broker has no authentication");
        }
        let former = self.connections[index as usize].user.clone();
        let user = match self.identify(Some(token)) {
            Ok(Some(user)) => user,
            Ok(None) => return,
            Err(error) => {
                self.fail(index, id, 401, &error.to_string());
                if former.is_none() && self.shuts_strangers_out() {
                    self.refuse_token(index, error);
                }
                return;
            }
        };
        if former.as_ref().is_some_and(|former| former.name() != user.name()) {
            return self.fail(index, id, 403, "token: it is another user's; a connection stays who it is");
        }
        self.take_identity(index, Some(Rc::clone(&user)));
        self.file_open(index);
        if !id.is_none() {
            self.reply(index, |out| reply::ack_auth(out, id, user.name()));
        }
        self.review_subscriptions(conn, &user, former.is_none(), "the new token does not grant");
    }

    /// Ends the subscriptions that are granted no longer, with an error each that says `why`. Where a stranger was a
    /// member, the user is.
    pub(super) fn review_subscriptions(&mut self, conn: ConnId, user: &User, fresh: bool, why: &str) {
        for slot in self.registry.slots(conn.index) {
            if !self.registry.has(conn.index, slot) {
                continue; // it went with the topic that it is about
            }
            let text: Box<str> = self.registry.filter(slot).into();
            let filter = Filter::known(&text);
            if filter.is_inner() {
                continue; // it ends with the topic that it is about
            }
            let permit = self.permit(Some(user), filter);
            match filter.as_topic() {
                None => self.registry.grant(conn.index, slot, permit.granted),
                // The answer to a subscribe that is under way is then the error.
                Some(topic) if !self.admits_reader(topic, permit) && self.registry.revoke(conn.index, slot) => {
                    self.end_watch(conn.index, topic);
                }
                Some(topic) if !self.admits_reader(topic, permit) => self.end_subscription(conn, filter, 403, why),
                Some(topic) if fresh && self.registry.has_members(slot) => {
                    self.leave_home(conn, topic);
                    self.enter_home(conn, topic, slot);
                }
                Some(_) => {}
            }
        }
    }

    fn admits_reader(&self, topic: Topic<'_>, permit: Permit) -> bool {
        let rule = self.rules.of(topic);
        rule.is_some_and(|rule| self.rules.at(rule).subscribe.admits(permit))
    }

    /// Tells that what a connection had of a topic ends, or some of it.
    pub(super) fn end_of_topic(&mut self, index: u32, topic: &str, code: u16, reason: &str) {
        self.counters.faults += 1;
        self.reply(index, |out| reply::error_of_topic(out, topic, code, &reason));
    }

    /// Answers a command with an error.
    pub(super) fn fail(&mut self, index: u32, id: &Id, code: u16, reason: &str) {
        self.counters.faults += 1;
        self.reply(index, |out| reply::error(out, id, code, &reason));
    }
}
