//! The command line: flags in, one run, a table or a JSON object on standard output, and an exit code.
//! `main` calls `run`. 0: all was right; 1: something failed or was not delivered as it must be; 2: wrong usage, found by clap or here.
//! Refuses loads without an end, targets off this machine, and shapes that cannot be verified.

mod connect;
mod echo;
mod fanout;
mod http_publish;
mod idle;
mod mixed;
mod pacing;
mod rooms;
mod slow;
mod soak;
mod storm;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::floor::{self, Floor};
use crate::machine::{self, Placement};
use crate::process::Cost;
use crate::profile::Profile;
use crate::report::{self, Comparison, Outcome, Output, Progress};
use crate::scenario::against::{self, Broker, Side, Yardstick};
use crate::scenario::fanout::{Measured, Shape};
use crate::scenario::processes;
use crate::scenario::publishing::Pace;
use crate::spawn::{Configuration, sibling};
use crate::target::{Target, Tls, Transport};
use pacing::{Compared, Reach};

/// Subscribers times publishers whose sequences are followed.
const SEQUENCES_MAX: usize = 50_000_000;
/// What topics keep for those who poll: what is published between two polls has to be there.
const POLLED_HISTORY: u32 = 10_000;
/// Most publications that a rule can keep of a topic.
const HISTORY_MAX: u32 = 1_000_000;
/// Longest stretch that may be asked for, in seconds.
const SECONDS_MAX: f64 = 3_600.0;

/// Load test for wirefan: what was delivered, how late, how dear, and that nothing was lost, doubled or out of order.
#[derive(Parser)]
#[command(name = "wirefan-loadtest", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publish to many subscribers and verify every delivery.
    Fanout(fanout::Fanout),
    /// Rooms whose members all publish, each connection in several: the many small fan-outs of a chat.
    Rooms(rooms::Rooms),
    /// Subscribers by WebSocket, server-sent events and long polling in the same topics: one order for all.
    Mixed(mixed::Mixed),
    /// Messages that come back as they are, from 16 bytes to megabytes, binary or text.
    Echo(echo::Echo),
    /// Connect, subscribe and leave over and over; or cut all off at once and let them come back.
    Connect(connect::Connect),
    /// A storm for hours: everything verified, and whether the server's memory grows.
    Soak(soak::Soak),
    /// Cut subscribers off at random, let them come back, and verify that they missed nothing.
    Storm(storm::Storm),
    /// Let a part of the subscribers read slowly or not at all: what that costs the others, and what they are told.
    Slow(slow::Slow),
    /// Hold many idle connections: memory and CPU of the server per connection.
    Idle(idle::Idle),
    /// Publish by HTTP, many requests at once on connections that stay.
    HttpPublish(http_publish::HttpPublish),
    /// Be one of several load processes, directed over standard input and output.
    #[command(hide = true)]
    Crowd,
    /// Be the floor: a bare loop that sends the same bytes to all subscribers, until SIGINT or SIGTERM.
    Floor(FloorArguments),
}

/// Which server is tested. Without --url this program starts one of its own and ends it.
#[derive(Args)]
struct ServerArguments {
    /// WebSocket of a server that runs already: `ws://127.0.0.1:8080/ws`; with --ca also `wss://`.
    #[arg(long, conflicts_with_all = ["spawn", "shards", "server_cores"])]
    url: Option<String>,
    /// Process whose CPU time and memory are read, with --url.
    #[arg(long, requires = "url")]
    server_pid: Option<u32>,
    /// Certificates to trust, in PEM, with a --url of `wss://`.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Let the started wirefan speak TLS, with a certificate that is made for it.
    #[arg(long, conflicts_with = "url")]
    tls: bool,
    /// The wirefan to start [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    spawn: Option<PathBuf>,
    /// Shards of the started wirefan.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: u16,
    /// Cores of the started server [default: the first ones, one per shard, if any are left for the load].
    #[arg(long, value_delimiter = ',', value_name = "CORE,…")]
    server_cores: Option<Vec<usize>>,
    /// Cores of the client threads [default: the rest].
    #[arg(long, value_delimiter = ',', value_name = "CORE,…")]
    load_cores: Option<Vec<usize>>,
    /// Allow targets outside 127.0.0.0/8 and ::1. Only for servers that are yours.
    #[arg(long)]
    allow_remote: bool,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
    /// Write a page for somebody who was not there to this folder, as index.html: figures, histograms and curves, explained.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Args)]
struct FloorArguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Send all publications that one turn of the loop read in one `send` per socket, instead of one each.
    #[arg(long)]
    batch: bool,
    /// Ping every connection once in so many seconds [default: never].
    #[arg(long, value_parser = positive)]
    heartbeat_s: Option<f64>,
    /// End by itself after so long.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Allow listening outside 127.0.0.0/8 and ::1.
    #[arg(long)]
    allow_remote: bool,
}

/// Why there is no outcome, in one sentence.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is asked for cannot be run.
    Usage(String),
    /// The run came to no end.
    Run(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Run(sentence)
    }
}

/// What every run begins with: descriptors, and cores.
struct Start<'a> {
    server: &'a ServerArguments,
    /// Connections that the load's processes may have together.
    usable: usize,
    placement: Placement,
    notes: Vec<String>,
}

impl<'a> Start<'a> {
    /// Of a load of so many processes: limits are raised, and this thread keeps off the server's cores.
    fn of(server: &'a ServerArguments, processes: u16) -> Result<Self, Failure> {
        server.check().map_err(Failure::Usage)?;
        let usable = machine::raise_descriptors().saturating_mul(usize::from(processes));
        let placement = server.placement();
        keep_off(&placement)?;
        let mut notes = vec![format!("Placement: {}.", placement.sentence())];
        if server.url.is_some() && server.server_pid.is_none() {
            notes.push("The server's cost is not known: give its process with --server-pid.".into());
        }
        if processes > 1 {
            notes.push(format!("The load are {processes} processes."));
        }
        Ok(Self { server, usable, placement, notes })
    }

    /// As many of `asked` connections as fit beside `taken` others; that they are fewer is noted.
    fn fit(&mut self, asked: u32, taken: usize, noun: &str) -> Result<usize, String> {
        let (fitting, scaled) = machine::fit(asked as usize, taken, self.usable, noun);
        self.notes.extend(scaled);
        if fitting == 0 {
            return Err(format!("no descriptor is left for {noun}: raise the limit (ulimit -n)"));
        }
        Ok(fitting)
    }

    /// The same for subscribers, each of which follows all publishers.
    fn fit_subscribers(&mut self, asked: u32, publishers: u16, processes: u16) -> Result<usize, Failure> {
        let publishers = usize::from(publishers);
        // All publishers are of the first process.
        let subscribers = self.fit(asked, publishers * usize::from(processes), "subscribers")?;
        if subscribers * publishers > SEQUENCES_MAX {
            return Err(Failure::Usage(format!(
                "{subscribers} subscribers x {publishers} publishers are more sequences than {SEQUENCES_MAX}"
            )));
        }
        Ok(subscribers)
    }

    /// A fan-out from one publisher as those flags say; the scenario changes what is its own.
    fn shape(&self, reach: &Reach, subscribers: usize) -> Shape {
        Shape {
            subscribers,
            threads: usize::from(reach.threads),
            sources: reach.sources,
            connects_per_second: reach.connects_per_second,
            load_cores: self.placement.load_cores.clone(),
            ..Shape::default()
        }
    }
}

/// Runs what the command line asks for. `Ok(false)` when the run ended but not everything was right.
pub(crate) fn run() -> Result<bool, Failure> {
    match Arguments::parse().command {
        Command::Fanout(arguments) => fanout::run(&arguments),
        Command::Rooms(arguments) => rooms::run(&arguments),
        Command::Mixed(arguments) => mixed::run(&arguments),
        Command::Echo(arguments) => echo::run(&arguments),
        Command::Connect(arguments) => connect::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Storm(arguments) => storm::run(&arguments),
        Command::Slow(arguments) => slow::run(&arguments),
        Command::Idle(arguments) => idle::run(&arguments),
        Command::Crowd => {
            processes::serve(std::io::BufReader::new(std::io::stdin()), std::io::stdout())?;
            Ok(true)
        }
        Command::HttpPublish(arguments) => http_publish::run(&arguments),
        Command::Floor(arguments) => run_floor(&arguments).map(|()| true),
    }
}

/// Both sides of a scenario that does not publish.
struct Sides<'a> {
    broker: &'a Broker,
    placement: &'a Placement,
    /// Of the floor.
    manner: floor::Manner,
}

/// Runs `run` against the broker, or in turn with the floor, and tells what it found.
fn in_turn(
    sides: &Sides<'_>,
    compared: &Compared,
    output: &Output,
    run: impl Fn(&Target, Option<u32>, &Progress) -> Result<Outcome, String>,
) -> Result<bool, Failure> {
    let progress = Progress::new(output.json);
    let broker = || sides.broker.with(sides.placement, Transport::Ws, |target, pid| run(target, pid, &progress));
    if !compared.against_floor {
        let outcome = broker()?;
        progress.end();
        return Ok(report::shown(&outcome, output)?);
    }
    let rounds = against::in_turn(compared.rounds, "floor", &progress, |side| match side {
        Side::Broker => broker(),
        Side::Yardstick => {
            against::with_floor(sides.placement, sides.manner, |target, pid| run(target, pid, &progress))
        }
    })?;
    progress.end();
    Ok(report::compared(&Comparison::new("floor", rounds), output)?)
}

/// What is run: a shape, the broker, how subscribers come, and where both sides run.
type Run<'a> = (&'a Shape, &'a Broker, Transport, &'a Placement);

/// Runs a shape, alone or in turn with a yardstick, and tells it; `describe` adds to an outcome what is the scenario's own.
fn run_shape(
    scenario: &'static str,
    (shape, broker, transport, placement): Run<'_>,
    yardstick: Option<Yardstick>,
    rounds: u32,
    mut notes: Vec<String>,
    output: &Output,
    describe: impl Fn(&mut Outcome),
) -> Result<bool, Failure> {
    notes.extend(yardstick.and_then(Yardstick::note));
    let progress = Progress::new(output.json);
    let outcome = |measured: &Measured| {
        let mut outcome = report::fanout_outcome(scenario, shape, measured, notes.clone());
        describe(&mut outcome);
        outcome
    };
    let Some(yardstick) = yardstick else {
        let measured = against::run_broker(shape, broker, transport, placement, &progress)?;
        progress.end();
        return Ok(report::shown(&outcome(&measured), output)?);
    };
    let compared = against::run(shape, broker, (transport, yardstick), placement, rounds, &progress)?;
    progress.end();
    let rounds = compared.iter().map(|round| round.map(outcome)).collect();
    Ok(report::compared(&Comparison::new(yardstick.name(), rounds), output)?)
}

fn run_floor(arguments: &FloorArguments) -> Result<(), Failure> {
    machine::raise_descriptors();
    if !arguments.listen.ip().is_loopback() && !arguments.allow_remote {
        return Err(Failure::Usage(format!(
            "{} is not loopback: the floor checks nothing and listens on this machine only, unless --allow-remote is given",
            arguments.listen
        )));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
    }
    let heartbeat = arguments.heartbeat_s.map(Duration::from_secs_f64);
    let manner = floor::Manner { batch: arguments.batch, heartbeat };
    let mut floor = Floor::bind(arguments.listen, manner)
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let address = floor.address().map_err(|error| error.to_string())?;
    eprintln!("listening on {address}");
    let until = arguments.seconds.map(|s| Instant::now() + Duration::from_secs_f64(s));
    Ok(floor.run(&stop, until).map_err(|error| format!("the floor failed: {error}"))?)
}

impl ServerArguments {
    /// Refuses a process that is not there, and cores that this machine does not have.
    fn check(&self) -> Result<(), String> {
        if let Some(pid) = self.server_pid {
            Cost::of(pid).map_err(|error| format!("--server-pid {pid}: there is no such process ({error})"))?;
        }
        let available = machine::available_cores();
        for core in self.server_cores.iter().chain(&self.load_cores).flatten() {
            if !available.contains(core) {
                return Err(format!("core {core} is none that this program may use: those are {available:?}"));
            }
        }
        Ok(())
    }

    fn placement(&self) -> Placement {
        let available = machine::available_cores();
        if self.url.is_some() {
            // The server is where its owner put it.
            return Placement { server_cores: Vec::new(), load_cores: self.load_cores.clone().unwrap_or_default() };
        }
        let shards = usize::from(self.shards);
        Placement::choose(&available, shards, self.server_cores.clone(), self.load_cores.clone())
    }

    /// Where the outcome goes.
    fn output(&self) -> Result<Output, Failure> {
        Output::new(self.json, self.report.as_deref()).map_err(Failure::Usage)
    }

    /// The server under test; one that is started reads `configuration`.
    fn broker(&self, mut configuration: Option<Configuration>) -> Result<Broker, Failure> {
        if let Some(url) = &self.url {
            let target = Target::parse(url, self.ca.as_deref(), self.allow_remote).map_err(Failure::Usage)?;
            return Ok(Broker::Running { target, pid: self.server_pid });
        }
        let program = match &self.spawn {
            Some(path) => path.clone(),
            None => sibling("wirefan")?,
        };
        let tls = match self.tls {
            true => {
                let mut own = configuration.map_or_else(Configuration::usual, Ok)?;
                let ca = own.certify()?;
                configuration = Some(own);
                Some(Tls::trusting(&ca, "127.0.0.1")?)
            }
            false => None,
        };
        let shards = self.shards.to_string();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--shards", &shards].map(str::to_owned).to_vec();
        Ok(Broker::Start { program, arguments, configuration, tls })
    }
}

/// The directing thread looks at its watch on the load's cores, away from a server that has its own.
fn keep_off(placement: &Placement) -> Result<(), String> {
    if placement.server_cores.is_empty() {
        return Ok(());
    }
    machine::pin_thread(&placement.load_cores)
}

/// Whether the floor batches: as asked, else where several publications are under way at once.
fn batches(asked: Option<bool>, pace: Pace) -> bool {
    asked.unwrap_or(matches!(pace, Pace::UnderWay(most) if most > 1))
}

/// The sentence that says how subscribers come.
fn way(transport: Transport, server: &ServerArguments) -> String {
    let tls = if server.tls || server.ca.is_some() { " under TLS" } else { "" };
    format!("Subscribers come by {}{tls}.", transport.name())
}

/// The profile of that name or path.
fn profile(name: Option<&str>) -> Result<Option<Arc<Profile>>, Failure> {
    name.map(|name| Profile::load(name).map(Arc::new)).transpose().map_err(Failure::Usage)
}

/// A broker that tells no topics apart is not asked to.
fn fits(profile: &Profile, topics: usize) -> Result<(), Failure> {
    match profile.topics_max {
        Some(most) if topics > most => Err(Failure::Usage(format!(
            "profile {}: it can tell {most} topics apart, not {topics} (--topics)",
            profile.name
        ))),
        _ => Ok(()),
    }
}

/// The sentence that says which broker it is.
fn spoken(profile: &Profile) -> String {
    format!("Spoken to by the profile {}: {}", profile.name, profile.about)
}

/// The sentence that says what a started wirefan keeps.
fn kept(count: u32) -> String {
    format!("Each topic keeps its last {count} publications.")
}

/// What a rule can keep of a topic.
fn history(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=HISTORY_MAX).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {HISTORY_MAX} is needed")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("a number above 0 and up to 1000000000 is needed".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=SECONDS_MAX).contains(&number) => Ok(number),
        _ => Err(format!("seconds between 0 and {SECONDS_MAX} are needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            "fanout --rate 1 --outstanding 1",
            "fanout --rate 0",
            "fanout --rate nan",
            "fanout --payload-bytes 37",
            "fanout --subscribers 0",
            "fanout --url ws://127.0.0.1/ --spawn x",
            "fanout --server-pid 1",
            "fanout --rounds 5",
            "fanout --against-websocket",
            "fanout --against-floor --transport sse",
            "fanout --against-floor --tls",
            "fanout --transport carrier-pigeon",
            "fanout --ca x",
            "fanout --tls --url wss://127.0.0.1/",
            "http-publish --depth 0",
            "fanout --duration-s 1e9",
            "fanout --history 0",
            "fanout --history 5 --url ws://127.0.0.1/",
            "fanout --deflate --against-floor",
            "fanout --deflate --history 5",
            "fanout --batch",
            "fanout --sweep --outstanding 3",
            "fanout --sweep --against-floor",
            "fanout --late-ms 5",
            "rooms --each 0",
            "rooms --zipf 5",
            "rooms --rounds 2",
            "mixed --subscribers 2",
            "echo --payload-bytes 15",
            "echo --content utf16",
            "connect --rate 5",
            "connect --storm --against-floor",
            "soak --hours 0",
            "soak --hours 100",
            "storm --reconnect-share 0",
            "storm --reconnect-share 101",
            "storm --away-s 4",
            "storm --outstanding 3",
            "storm --history 1000001",
            "slow --slow-share 1",
            "slow --slow-share 0",
            "slow --overflow drop-oldest",
            "slow --read-bytes-per-second 0",
            "slow --rounds 0",
            "idle --subscribe-each 1001",
            "idle --processes 0",
            "rooms --processes 257",
            "slow --processes 2",
            "connect --processes 2",
            "connect --connects-per-second 9",
            "echo --threads 2",
            "http-publish --sources 2",
            "soak --duration-s 5",
            "idle --heartbeat-s 0",
            "idle --rounds 2",
            "floor --listen nowhere",
        ] {
            let words = std::iter::once("wirefan-loadtest").chain(wrong.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{wrong}");
        }
    }

    #[test]
    fn right_usage_is_taken_and_a_soak_is_a_storm_with_other_defaults() {
        let right = ["wirefan-loadtest", "fanout", "--rate", "10.5", "--publishers", "2", "--json"];
        assert!(Arguments::try_parse_from(right).is_ok());
        let right = "wirefan-loadtest storm --subscribers 9 --reconnect-share 0.5 --rate 10 --history 7 --json";
        assert!(Arguments::try_parse_from(right.split(' ')).is_ok());
        let Command::Soak(soak) = Arguments::try_parse_from(["wirefan-loadtest", "soak"]).unwrap().command else {
            panic!("a soak");
        };
        assert_eq!((soak.storm.rate, soak.storm.topics, soak.storm.away_s), (200.0, 20, 1.0), "its own defaults");
        let right =
            "wirefan-loadtest slow --overflow drop_oldest --read-bytes-per-second 1000 --slow-share 0.5 --rate 9";
        assert!(Arguments::try_parse_from(right.split(' ')).is_ok());
    }
}
