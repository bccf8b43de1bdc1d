//! The broker itself on two shards of the test's process: for the tests inside the load test, and for those from outside.

use std::net::SocketAddr;

use wirefan::config::Config;
use wirefan::rules::{History, Rule};

/// Runs `body` with the address of a broker of that configuration, on any port of loopback.
pub(crate) fn with_broker<T>(change: impl FnOnce(&mut Config), body: impl FnOnce(SocketAddr) -> T) -> T {
    let mut config = Config::default();
    config.server.shards = 2;
    change(&mut config);
    config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.server.pin = false;
    let broker = wirefan::net::Broker::start(config).unwrap();
    let found = body(broker.addresses()[0].address);
    broker.stop();
    broker.join().unwrap();
    found
}

/// The rule of the load test's topics, which keeps so many publications of each.
pub(crate) fn rule(history: Option<u32>) -> Rule {
    let history = history.map(|count| History { count, age_s: 600 });
    Rule { filter: "loadtest/#".to_owned(), history, ..Rule::default() }
}
