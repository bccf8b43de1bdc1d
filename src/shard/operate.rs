//! The API's calls for operators: what topics and connections there are, and ending connections.
//!
//! `api` hands them over once it is known that who asks may. Nothing is answered here: each call becomes a survey of
//! the shards concerned (`survey`), and its request waits like one that waits for homes.

use super::Shard;
use super::api::number;
use super::calls::Call;
use super::connection::CloseReason;
use super::exchange::{Exchange, too_many};
use super::identity::User;
use super::requests::{Next, unauthorized};
use crate::auth::is_user;
use crate::http::{Date, Problem, Query, Response, Terms, decode_segment};
use crate::ids::{ClientName, Mark};
use crate::limits;
use crate::protocol::Excerpt;
use crate::topic::Filter;

impl Shard {
    /// Whether who asks is an operator. Where nobody can be known, nobody is, from whatever address.
    pub(super) fn check_operator(&self, user: Option<&User>) -> Result<(), Problem> {
        match user {
            _ if self.settings.credentials.is_none() => Err(Problem::new(
                403,
                "this is for operators, and the broker knows none: configure [auth] with a key or an API key that \
                 says `operate` (docs/configuration.md)",
            )),
            None => Err(unauthorized("this is for operators: say who you are, by Authorization: Bearer")),
            // RFC 6750 3.1.
            Some(user) if !user.operates() => {
                let problem = Problem::new(403, "this is for operators: the token or API key does not say `operate`");
                Err(problem.with_header("WWW-Authenticate", "Bearer error=\"insufficient_scope\""))
            }
            Some(_) => Ok(()),
        }
    }

    /// Carries out a call of an operator.
    pub(super) fn operate(
        &mut self,
        index: u32,
        call: Call<'_>,
        query: &Query<'_>,
        (terms, exchange): (Terms, Exchange),
    ) -> Result<Next, Problem> {
        if self.surveys.is_full() {
            return Err(too_many("too much is asked of all cores at once; ask again".to_owned(), 1));
        }
        let conn = self.id_of(index);
        match call {
            Call::Topics => {
                let text = query.single("filter")?.unwrap_or("#");
                let filter = Filter::parse(text)
                    .map_err(|error| Problem::new(400, format!("filter: it is {}: {error}", Excerpt::of(text))))?;
                let (from, limit) = page(query)?;
                self.begin_one(index, exchange);
                self.survey_topics(conn, filter, from, limit);
            }
            Call::Connections => {
                let user = query.single("user")?.map(user).transpose()?;
                let (from, limit) = page(query)?;
                self.begin_one(index, exchange);
                self.survey_connections(conn, user, from, limit);
            }
            Call::EndUser => {
                let user =
                    query.single("user")?.ok_or(Problem::bad_request("user: say whose connections are to end"))?;
                let user = self::user(user)?;
                self.begin_one(index, exchange);
                self.survey_end_user(conn, user);
            }
            Call::Connection(name) => {
                let client = self.client(name)?;
                self.begin_one(index, exchange);
                self.survey_connection(conn, client.shard, client.conn);
            }
            Call::End(name) => {
                let client = self.client(name)?;
                if client == self.client_of(conn) {
                    return Ok(self.end_self(index, terms));
                }
                self.begin_one(index, exchange);
                self.survey_end(conn, client.shard, client.conn);
            }
            _ => unreachable!("the others are for everybody"),
        }
        Ok(self.all_added(index))
    }

    /// A connection that ends itself is still answered.
    fn end_self(&mut self, index: u32, terms: Terms) -> Next {
        let terms = terms.closing();
        let done = |out: &mut Vec<u8>, date: &Date| Response::begin(out, 204, terms, Some(date)).empty();
        self.say(index, terms, CloseReason::Revoked, done)
    }

    /// The connection that a path names, on a shard that there is.
    fn client(&self, segment: &str) -> Result<ClientName, Problem> {
        let client = decode_segment(segment)?.parse::<ClientName>().ok();
        client
            .filter(|client| client.shard.0 < self.shards)
            .ok_or_else(|| Problem::new(404, "client: this is the name of no connection"))
    }
}

/// Where the page begins, and how much it may have.
fn page(query: &Query<'_>) -> Result<(Mark, usize), Problem> {
    let after = query.single("after")?.map(str::parse).transpose();
    let after = after.map_err(|_| Problem::bad_request("after: it is no `next` of such a list"))?;
    let limit = number("limit", query.single("limit")?, limits::LIST_LIMIT_MAX)?;
    Ok((after.unwrap_or_default(), limit))
}

fn user(name: &str) -> Result<&str, Problem> {
    if is_user(name) { Ok(name) } else { Err(Problem::bad_request("user: this is nobody's name")) }
}
