//! The command line: arguments in, an exit code out.
//!
//! `main` calls [`run`]. Each command is a thin file: it asks `config` or `net` to do the work and turns the result into
//! lines. Data goes to standard output, everything else to standard error. Exit codes: 0 it worked, 1 it failed,
//! 2 it was called wrongly. A reader that goes away (`| head -1`) is no failure.

mod connection;
mod manual;
mod outcome;
mod publish;
mod reply;
mod serve;
mod subscribe;
mod token;
mod top;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, value_parser};

use self::outcome::Failure;
use crate::config::{self, TOKEN_VARIABLE};
use crate::limits::{HISTORY_LAST_MAX, KEY_BYTES_MAX};
use crate::net::client::{BearerToken, Url};
use crate::protocol::Position;
use crate::topic::{Filter, NameError, Topic};

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn run() -> ExitCode {
    // Ends the process itself: 2 with a sentence for wrong arguments, 0 for --help and --version.
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Check(arguments) => serve::check(&arguments),
        Command::Publish(arguments) => publish::publish(arguments),
        Command::Subscribe(arguments) => subscribe::subscribe(&arguments),
        Command::Token(arguments) => token::token(&arguments),
        Command::Top(arguments) => top::top(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A multi-core publish/subscribe broker: topics over WebSocket, in one order, across cores.
#[derive(Debug, Parser)]
#[command(name = "wirefan", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Print the configuration that `serve` would use, or all that is wrong with it
    Check(Check),
    /// Publish to a topic and print each publication's position
    Publish(Publish),
    /// Print the publications of topics as they come
    Subscribe(Subscribe),
    /// Make a token for a user, or an API key for a backend
    Token(Token),
    /// Watch a running broker: what flows, what waits, and its cores side by side
    Top(Top),
    /// Print a script that completes these commands in a shell
    Completions(Completions),
    /// Print the manual page, or write all of them to a directory
    Man(Man),
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
struct Serve {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, IP:PORT; may be repeated, and replaces the configured list
    #[arg(long, value_name = "ADDR", value_parser = config::listen_address)]
    listen: Vec<SocketAddr>,
    /// Threads that serve connections; 0: one per core
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Let anyone who can reach the address subscribe and publish, on public addresses too
    #[arg(long)]
    allow_anonymous: bool,
    /// Wait for a broker of the same user that has the port to stop; take the port and what it remembers, and lose nothing
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Args)]
#[command(after_help = SETTINGS)]
struct Check {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Explain instead which rule this topic gets, and what that says
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    topic: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "A string needs its own quotes inside those of the shell: wirefan publish chat/1 '\"hi\"'")]
struct Publish {
    /// Topic, such as chat/1
    topic: String,
    /// JSON value to publish [default: each line of standard input is one]
    #[arg(allow_negative_numbers = true)]
    data: Option<String>,
    /// Where the broker is, ws:// or wss://
    #[arg(long, default_value = DEFAULT_URL)]
    url: Url,
    /// Certificates (PEM) of whom to trust to sign that of a wss:// broker [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Publish bytes instead of JSON: DATA as it is, or all of standard input as one publication
    #[arg(long)]
    binary: bool,
    /// Names the publication, so that a repeat of it within the topic's window is not published again
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Quote filters, or the shell may take # for a comment: wirefan subscribe 'chat/#'")]
struct Subscribe {
    /// Topics, or filters with wildcards: + for one level, a last # for all that follow
    #[arg(required = true, value_name = "FILTER")]
    filters: Vec<String>,
    /// Where the broker is, ws:// or wss://
    #[arg(long, default_value = DEFAULT_URL)]
    url: Url,
    /// Certificates (PEM) of whom to trust to sign that of a wss:// broker [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Begin behind this position of the one topic, with what was missed
    #[arg(long, value_name = "POS", conflicts_with = "last")]
    since: Option<Position>,
    /// Begin with the last N kept publications of each topic
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(HISTORY_LAST_MAX)))]
    last: Option<u32>,
    /// End after N publications
    #[arg(long, value_name = "N", value_parser = count)]
    count: Option<u64>,
    /// Print the message objects instead of TOPIC POSITION DATA
    #[arg(long)]
    json: bool,
}

/// Who a command is to the broker.
#[derive(Args)]
struct Who {
    /// Token or API key to come with; the variable keeps it out of the list of processes
    // Taken as it comes: the sentences of the parser show what they refuse.
    #[arg(long, value_name = "TOKEN", env = TOKEN_VARIABLE, hide_env_values = true)]
    token: Option<String>,
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.token.is_some() { "Who(…)" } else { "Who()" })
    }
}

impl Who {
    fn token(&self) -> Result<Option<BearerToken>, Failure> {
        let token = self.token.as_deref().map(str::parse).transpose();
        token.map_err(|reason| Failure::Wrong(format!("the token, of --token or {TOKEN_VARIABLE}, {reason}")))
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["user", "api_key"]), after_help = TOKENS)]
struct Token {
    /// User whom the token stands for
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Make an API key of this name instead: the key, and the line for `auth.api_keys_file` with its hash
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ttl", "key", "config"])]
    api_key: Option<String>,
    /// Topic or filter that it may subscribe to; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    subscribe: Vec<String>,
    /// Topic or filter that it may publish to; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    publish: Vec<String>,
    /// Let it list and close connections
    #[arg(long)]
    operate: bool,
    /// How long the token is valid: 90s, 10m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: u32,
    /// Configuration file (TOML) whose first HS256, HS384 or HS512 key signs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Private key (PEM) to sign with instead; its public half is a key of the configuration
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = TOP)]
struct Top {
    /// Where the broker is, ws:// or wss://
    #[arg(long, default_value = DEFAULT_URL)]
    url: Url,
    /// Certificates (PEM) of whom to trust to sign that of a wss:// broker [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Print the figures of one second and end, as happens where standard output is no terminal
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "To read it at once: wirefan man | man -l -")]
struct Man {
    /// Directory for wirefan.1 and a page for each command, such as /usr/local/share/man/man1
    dir: Option<PathBuf>,
}

fn filter(text: &str) -> Result<String, NameError> {
    Filter::parse(text).map(|filter| filter.to_string())
}

fn ttl(text: &str) -> Result<u32, &'static str> {
    let seconds = config::duration_s(text).filter(|seconds| *seconds > 0);
    seconds.ok_or("must be a whole number with its unit (s, m, h or d), such as 10m")
}

fn count(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("must be a whole number from 1"),
    }
}

fn topic(text: &str) -> Result<String, NameError> {
    Topic::parse(text).map(|topic| topic.to_string())
}

fn key(text: &str) -> Result<String, String> {
    match text.len() {
        1..=KEY_BYTES_MAX => Ok(text.to_owned()),
        len => Err(format!("has {len} bytes; a key has 1 to {KEY_BYTES_MAX}")),
    }
}

const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";

const TOP: &str = "It reads `$sys/stats`, which takes a token that says `operate` where the broker has [auth]. As JSON: wirefan \
                   subscribe '$sys/stats' --json. With the variable NO_COLOR there are no colours.";

const COMPLETIONS: &str = "For this shell only: source <(wirefan completions bash). For good, write it to \
                           /etc/bash_completion.d/wirefan, to _wirefan in a directory of zsh's fpath, or to \
                           ~/.config/fish/completions/wirefan.fish.";

const TOKENS: &str =
    "Standard output gets the token alone, or the API key and behind it, on a line of its own, what the file gets.";

const SETTINGS: &str = "A flag beats an environment variable (WIREFAN_SERVER__SHARDS=4), which beats the file, which beats the \
                        default. `wirefan check` prints every key.";
