//! Writes the configurations of a scenario's agents.

use std::fmt::Write as _;

use super::{CAPACITY_BYTES, Input, Reads, SEGMENT_BYTES, Scenario};

/// The source of an agent with upstream agents.
const LISTENS: &str = "type = \"grpc\"\nlisten = \"0.0.0.0:4141\"\ninsecure = true\n";

impl Scenario {
    /// Returns the configuration of an edge.
    pub(crate) fn edge(&self, edge: usize) -> String {
        let input = &self.edges[edge];
        let mut text = agent(&format!("edge-{edge}"));
        let Input { reads, events: count, pause_millis } = *input;
        let (rate, size) = (count.div_ceil(50), self.body_bytes);
        let source = match reads {
            Reads::Files => "type = \"tail_dir\"\npaths = [\"/logs/*\"]\nfile_header = false\n\
                 batch_bytes = \"256KiB\"\n\
                 poll_min = \"20ms\"\npoll_max = \"200ms\"\nbatch_events = 10"
                .to_owned(),
            Reads::Numbers => format!(
                "type = \"sequence\"\ncount = {count}\nrate = {rate}\nbatch_events = 7\n\
                 size = \"{size}B\""
            ),
            Reads::Client => format!(
                "type = \"client\"\ncount = {count}\nsize = {size}\npause_millis = {pause_millis}"
            ),
        };
        let selector = self.selector("lane", "1");
        write!(
            text,
            "[sources.in]\n{source}\n{selector}interceptors = [{{ type = \"host\" }}]\n{}",
            self.ways()
        )
        .expect("a string takes every write");
        text
    }

    /// Returns the configuration of a relay.
    pub(crate) fn relay(&self, relay: usize) -> String {
        let hops = Self::hops("collector", self.collectors);
        format!(
            "{}[sources.in]\n{LISTENS}{}{}",
            agent(&format!("relay-{relay}")),
            self.selector("host", "edge-1"),
            self.ways_to(&hops),
        )
    }

    fn hops(tier: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{tier}-{n}")).collect()
    }

    /// Returns the channels of an edge and their sink groups.
    pub(super) fn ways(&self) -> String {
        let hops = match self.relays {
            0 => Self::hops("collector", self.collectors),
            relays => Self::hops("relay", relays),
        };
        self.ways_to(&hops)
    }

    fn ways_to(&self, hops: &[String]) -> String {
        let mut text = String::new();
        for channel in self.channels() {
            // The name of a tier is the name of its first agent without the number.
            let tier = hops[0].trim_end_matches("-0");
            let hops: Vec<&str> = match self.discovers {
                true => vec![tier],
                false => hops.iter().map(String::as_str).collect(),
            };
            let sinks: Vec<String> =
                hops.iter().map(|hop| format!("\"{channel}-{hop}\"")).collect();
            write!(
                text,
                "{}[groups.{channel}]\n{}\nchannel = \"{channel}\"\nsinks = [{}]\n\
                 backoff_min = \"200ms\"\nbackoff_max = \"2s\"\n",
                self.channel(channel),
                self.group,
                sinks.join(", "),
            )
            .expect("a string takes every write");
            for hop in hops {
                let Self { window_batches: window, compression, retain, .. } = self;
                let way = match self.discovers {
                    true => format!(
                        "discover = \"srv:{hop}\"\ndiscover_every = \"1s\"\ndiscover_max = 4\n\
                         drain_max = \"8s\""
                    ),
                    false => format!("address = \"{hop}:4141\""),
                };
                write!(
                    text,
                    "[sinks.{channel}-{hop}]\ntype = \"grpc\"\ninsecure = true\n{way}\n\
                     window_batches = {window}\ncompression = \"{compression}\"\n\
                     retain = \"{retain}\"\nconnect_timeout = \"1s\"\nanswer_timeout = \"2s\"\n\
                     resend_after = \"5s\"\n"
                )
                .expect("a string takes every write");
            }
        }
        text
    }

    /// Returns the channels of each agent.
    pub(crate) fn channels(&self) -> &'static [&'static str] {
        if self.forks { &["main", "side"] } else { &["main"] }
    }

    /// Returns the selector of a source: events with this value of `header` go to the other
    /// channel, or each goes by its hash.
    pub(super) fn selector(&self, header: &str, value: &str) -> String {
        if !self.forks {
            return "channels = [\"main\"]\n".to_owned();
        }
        if self.spreads {
            // A different seed for each tier; otherwise the next tier receives events for one
            // channel only.
            let seed = value.bytes().map(u64::from).sum::<u64>();
            return format!(
                "channels = [\"main\", \"side\"]\n\
                 selector = {{ type = \"load_balancing\", seed = {seed} }}\n"
            );
        }
        format!(
            "channels = [\"main\", \"side\"]\nselector = {{ type = \"multiplexing\", \
             header = \"{header}\", mapping = {{ {value} = [\"side\"] }}, default = [\"main\"] }}\n"
        )
    }

    /// Returns the configuration of a collector. Each channel has its own sink and so its own
    /// ledger.
    pub(crate) fn collector(&self, collector: usize) -> String {
        let slower = if collector % 2 == 1 { self.slower } else { 1 };
        let age = self.roll_age_millis * slower;
        let sweep = match self.only_first_sweeps && collector > 0 {
            true => 60_000,
            false => self.sweep_millis * slower,
        };
        let events = self.roll_events;
        let limit = self.message_max.get(collector).copied().flatten();
        let limit = limit.map_or_else(String::new, |bytes| format!("message_max = \"{bytes}B\"\n"));
        let mut text = format!(
            "{}[sources.in]\n{LISTENS}{limit}{}{}",
            agent(&format!("collector-{collector}")),
            self.selector("host", "edge-0"),
            self.rejects(),
        );
        let (folder, merges, size) = match self.merges {
            None => ("", String::new(), String::new()),
            // A directory for each five seconds of the collector's clock.
            Some((after, bytes)) => (
                "%H-%M-%S/",
                format!(
                    "round = \"5s\"\ntime_from = \"arrival\"\n\
                     compact = {{ after = \"{after}ms\" }}\n"
                ),
                format!(", size_max = \"{bytes}B\""),
            ),
        };
        let scheme = if self.objects.is_some() { "s3" } else { "hdfs" };
        let form = self.form.settings();
        for channel in self.channels() {
            write!(
                text,
                "{}[sinks.{channel}]\ntype = \"hdfs\"\nchannel = \"{channel}\"\n{form}\
                 url = \"{scheme}://store/logs/{folder}%{{host}}\"\nsweep_after = \"{sweep}ms\"\n\
                 {merges}roll = {{ age_max = \"{age}ms\", idle_max = \"{}ms\", \
                 count_max = {events}{size} }}\n",
                self.channel(channel),
                age / 2,
            )
            .expect("a string takes every write");
        }
        text
    }

    fn channel(&self, name: &str) -> String {
        format!(
            "[channels.{name}]\ntype = \"durable\"\ncapacity = \"{CAPACITY_BYTES}B\"\n\
             segment_bytes = \"{SEGMENT_BYTES}B\"\ntail_memory = \"32KiB\"\npool = 1\n\
             pool_idle_max = \"2s\"\nindex = \"none\"\n\
             compression = \"{}\"\n",
            self.compression,
        )
    }
}

/// Returns the table `[agent]`.
pub(super) fn agent(name: &str) -> String {
    format!(
        "[agent]\nname = \"{name}\"\ndata_dir = \"/data\"\ngrace = \"2s\"\n\
         admin = \"0.0.0.0:9464\"\ninsecure = true\n"
    )
}
