//! Every field of the configuration: its type, default, range and reason.
//!
//! `bitroster config example` prints this file's texts, so they are written for operators.

use std::net::IpAddr;

use bitroster_telemetry::log;
use bitroster_types::{
    SegmentWidth,
    limits::{BITMAP_BITS_DEFAULT, BITMAP_BITS_MAX, BULK_BYTES_MAX, CLIENTS_MAX_DEFAULT},
};
use serde::{Deserialize, Serialize};

use super::{Seeds, Size, seeds::is_address};

/// Most shard groups of one node. Each costs a log stream and a task; cores are far fewer.
const GROUPS_MAX: u16 = 256;

/// One field, for whoever lists them all.
pub(crate) struct Field {
    pub(crate) table: &'static str,
    pub(crate) name: &'static str,
    pub(crate) docs: &'static [&'static str],
    pub(crate) value: toml::Value,
}

/// One table's name and description.
pub(crate) struct TableDocs {
    pub(crate) name: &'static str,
    pub(crate) docs: &'static [&'static str],
}

/// Declares the tables, their fields, documentation and defaults in one place.
macro_rules! tables {
    ($(
        $(#[doc = $table_doc:literal])*
        $table:ident: $Table:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $Type:ty = $default:expr, )*
        }
    )*) => {
        $(
            $(#[doc = $table_doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
            pub(crate) struct $Table {
                $( $(#[doc = $doc])* pub(crate) $field: $Type, )*
            }
        )*

        /// All of a node's configuration.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub(crate) struct Config {
            $( $(#[doc = $table_doc])* pub(crate) $table: $Table, )*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $( $table: $Table { $( $field: $default, )* }, )* }
            }
        }

        impl Config {
            /// Sets one field. `None` where there is no such field.
            ///
            /// # Errors
            ///
            /// Why the value does not fit the field's type.
            pub(crate) fn set(
                &mut self,
                table: &str,
                field: &str,
                value: toml::Value,
            ) -> Option<Result<(), String>> {
                match (table, field) {
                    $($(
                        (stringify!($table), stringify!($field)) => Some(
                            <$Type>::deserialize(value)
                                .map(|value| self.$table.$field = value)
                                .map_err(|error| error.message().to_owned()),
                        ),
                    )*)*
                    _ => None,
                }
            }

            /// Every field with its documentation and its value in `self`, in order.
            pub(crate) fn fields(&self) -> Vec<Field> {
                vec![$($(
                    Field {
                        table: stringify!($table),
                        name: stringify!($field),
                        docs: &[$($doc),*],
                        value: toml::Value::try_from(&self.$table.$field)
                            .expect("every field can be written as TOML"),
                    },
                )*)*]
            }

            /// The tables in order.
            pub(crate) fn tables() -> Vec<TableDocs> {
                vec![$( TableDocs { name: stringify!($table), docs: &[$($table_doc),*] }, )*]
            }
        }
    };
}

tables! {
    /// Where clients and operators connect, and what they may do.
    server: ServerConfig {
        /// What this node does: "all", "shard" or "router".
        ///
        /// A router serves clients and keeps nothing; a shard node keeps data and serves routers;
        /// "all" does both.
        role: RoleWord = RoleWord::All,
        /// Address that clients connect to.
        ///
        /// Any IP address; `0.0.0.0` for all. Other than loopback needs `requirepass`, or the
        /// flag `--insecure`: whoever reaches the port can read and write everything.
        bind: IpAddr = IpAddr::from([127, 0, 0, 1]),
        /// Port that clients connect to.
        ///
        /// 1 to 65535; 0 lets the system choose one.
        port: u16 = 6379,
        /// Whether clients may use the gRPC API as well.
        grpc: bool = true,
        /// Address that gRPC clients connect to.
        ///
        /// Any IP address; `0.0.0.0` for all. Other than loopback needs `requirepass`, or the
        /// flag `--insecure`.
        grpc_bind: IpAddr = IpAddr::from([127, 0, 0, 1]),
        /// Port that gRPC clients connect to.
        ///
        /// 1 to 65535; 0 lets the system choose one.
        grpc_port: u16 = 50051,
        /// Address of the admin HTTP server: `/livez`, `/readyz`, `/metrics`.
        ///
        /// Any IP address. `/metrics` has no password: keep it on loopback or a private network.
        admin_bind: IpAddr = IpAddr::from([127, 0, 0, 1]),
        /// Port of the admin HTTP server.
        ///
        /// 1 to 65535; 0 lets the system choose one.
        admin_port: u16 = 9380,
        /// Folder for log, snapshots and identity.
        ///
        /// Made if absent; only one process may use it.
        data_dir: String = "./bitroster-data".to_owned(),
        /// Password of the user `default`, until ACL SETUSER changes that user.
        ///
        /// Empty: none is asked for. Users are described in `docs/security.md`.
        requirepass: String = String::new(),
        /// Most clients at a time; more are refused.
        ///
        /// At least 1. Each takes some 20 KiB and a file handle.
        maxclients: usize = CLIENTS_MAX_DEFAULT,
        /// Seconds after which an idle client is dropped.
        ///
        /// 0: never.
        timeout: u64 = 0,
        /// Milliseconds that a request may take in all before it is answered with an error.
        ///
        /// 100 to 600000. Long enough for a BITOP over gigabytes, short enough that nobody waits
        /// for ever.
        request_timeout_ms: u64 = 30_000,
        /// Threads that serve connections and replicas.
        ///
        /// 0 to 1024; 0: one a core. Fewer where several nodes share a machine: threads that wake
        /// each other cost more than they bring then.
        threads: usize = 0,
        /// Milliseconds that clients have to take their last replies when the node stops.
        ///
        /// 0 to 60000; below the time that the orchestrator waits before it kills.
        shutdown_grace_ms: u64 = 5_000,
    }
    /// How data is kept.
    storage: StorageConfig {
        /// When a write counts as done.
        ///
        /// "always": when the disk has it. "interval": when the operating system has it; a power
        /// cut may lose the last `sync_interval_ms`, a killed process loses nothing.
        sync: SyncWord = SyncWord::Always,
        /// Milliseconds between syncs in the mode "interval".
        ///
        /// 1 to 60000.
        sync_interval_ms: u64 = 1_000,
        /// Memory above which writes are refused, such as "4gb"; routers refuse them too while a
        /// shard node is above its own.
        ///
        /// 0: no limit; then the system ends the process when memory runs out.
        maxmemory: Size = Size(0),
        /// Log written by one group before it writes a snapshot, at the least.
        ///
        /// "1mb" to "64gb". More log means fewer snapshots, a longer start, and more memory: the
        /// log since the last snapshot is kept there too.
        snapshot_log_bytes: Size = Size(16 << 20),
    }
    /// How this node finds others, and what is fixed when a cluster is created.
    ///
    /// Without `seeds` and `bootstrap_expect` a node of role "all" is a whole cluster by itself.
    cluster: ClusterConfig {
        /// Nodes to ask for the cluster, as "host:port" of their node address.
        ///
        /// The same list on every node; the node itself may be in it. Some of them are enough.
        seeds: Seeds = Seeds::default(),
        /// How many shard nodes found the cluster together, once they have found each other.
        ///
        /// 0 to 64; 0: this node founds nothing and only joins. The same number on all founding
        /// nodes. Without meaning once the cluster exists.
        bootstrap_expect: u16 = 0,
        /// Address that other nodes connect to.
        ///
        /// Any IP address. Keep it on loopback or a private network, or set `tls.nodes`: it has no
        /// password.
        bind: IpAddr = IpAddr::from([127, 0, 0, 1]),
        /// Port that other nodes connect to.
        ///
        /// 1 to 65535; 0 lets the system choose one.
        port: u16 = 7380,
        /// Where other nodes reach this one, "host:port".
        ///
        /// Empty: `bind` and `port`. Must be said where `bind` is 0.0.0.0. The node is known by it:
        /// one that comes with an empty disk at the address of another takes its place.
        advertise: String = String::new(),
        /// Replicas of each group, on as many nodes.
        ///
        /// 1 to 7; odd numbers make sense. Fixed at creation.
        replicas: u8 = 3,
        /// Milliseconds between heartbeats of a group's leader.
        ///
        /// 20 to 2000. The same on all nodes.
        heartbeat_ms: u64 = 100,
        /// Milliseconds that a follower waits before it stands for election, at the least; at the
        /// most twice that, which is also how long it keeps to a leader that it hears no more.
        ///
        /// At least 4 heartbeats, at most 20000. The same on all nodes.
        election_timeout_ms: u64 = 400,
        /// Shard groups. The keyspace is spread over them; each is led on its own.
        ///
        /// 0 to 256; 0 takes one a core, 1 to 16, and in a cluster of several nodes one for every
        /// two cores of a node, at least one a node. Fixed at creation: stored with the data.
        groups: u16 = 0,
        /// Width of a segment, the unit of placement, as a power of two of bits.
        ///
        /// 16 to 26. Fixed at creation: stored with the data.
        segment_width_log2: u8 = SegmentWidth::DEFAULT.log2(),
    }
    /// Certificates: of clients' connections, and of links between nodes.
    ///
    /// All files are PEM. They are read again at SIGHUP, and within half a minute of a change;
    /// connections that are open keep what they have.
    tls: TlsConfig {
        /// Whether clients may connect by TLS: "no", "yes" (beside the plain port), or "only".
        clients: ClientsWord = ClientsWord::No,
        /// Port that clients connect to by TLS, at `server.bind`.
        ///
        /// 1 to 65535; 0 lets the system choose one.
        port: u16 = 6390,
        /// Certificate that is shown to clients and other nodes, and those between it and its
        /// authority.
        cert_file: String = String::new(),
        /// The certificate's private key.
        key_file: String = String::new(),
        /// Authorities of clients' and nodes' certificates.
        ca_file: String = String::new(),
        /// Whether clients must show a certificate of `ca_file`: "no", "optional" or "yes".
        ///
        /// A certificate says that a client may connect; who it is, it says by AUTH.
        auth_clients: AuthWord = AuthWord::No,
        /// Whether links between nodes are TLS, with a certificate on both ends.
        ///
        /// The same on all nodes. Whoever has a certificate of `ca_file` is let in as a node, so
        /// sign clients' certificates with another authority, or ask clients for none.
        nodes: bool = false,
        /// Name that other nodes' certificates must have.
        ///
        /// Empty: the host of the address at which a node is reached.
        nodes_name: String = String::new(),
    }
    /// Pages and an HTTP API at the admin address of nodes that serve clients (`docs/http.md`).
    console: ConsoleConfig {
        /// Whether there is a console.
        ///
        /// Its users are those of ACL. While `default` needs no password none is asked for here,
        /// and only this machine's own browsers are served, unless the node runs with `--insecure`;
        /// in either case only by the host `localhost` or an IP address, not by another name.
        enabled: bool = true,
        /// Whether the console runs commands that change something.
        ///
        /// What its user may do is decided by ACL all the same.
        write: bool = false,
    }
    /// What is logged, to stderr.
    log: LogConfig {
        /// Level: off, error, warn, info, debug or trace; or one a module, as in
        /// `info,bitroster_wal=debug`.
        level: String = "info".to_owned(),
        /// "auto": text on a terminal, else JSON. "text". "json".
        format: String = "auto".to_owned(),
    }
    /// Bounds of what clients may send.
    limits: LimitsConfig {
        /// Largest value sent or received whole.
        ///
        /// "1mb" to "512mb".
        proto_max_bulk_len: Size = Size(BULK_BYTES_MAX as u64),
        /// Bits that a bitmap may have: offsets are below it.
        ///
        /// 2^20 to 2^42. The default is Redis's 2^32; whatever is longer cannot be read whole.
        bitmap_max_bits: u64 = BITMAP_BITS_DEFAULT,
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleWord {
    /// Serves clients and keeps data.
    All,
    /// Keeps data.
    Shard,
    /// Serves clients.
    Router,
}

impl RoleWord {
    /// The word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Shard => "shard",
            Self::Router => "router",
        }
    }

    /// Whether it keeps data.
    pub(crate) fn keeps_data(self) -> bool {
        self != Self::Router
    }

    /// Whether it serves clients.
    pub(crate) fn serves_clients(self) -> bool {
        self != Self::Shard
    }
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SyncWord {
    /// When the disk has it.
    Always,
    /// When the operating system has it.
    Interval,
}

/// How clients may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientsWord {
    /// Plain.
    No,
    /// Plain, and by TLS at another port.
    Yes,
    /// By TLS.
    Only,
}

impl ClientsWord {
    /// Whether there is a plain port.
    pub(crate) fn has_plain(self) -> bool {
        self != Self::Only
    }

    /// Whether there is a port for TLS.
    pub(crate) fn has_tls(self) -> bool {
        self != Self::No
    }
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthWord {
    /// They are not asked.
    No,
    /// They may; one that is bad is refused.
    Optional,
    /// They must.
    Yes,
}

impl Config {
    /// Shard groups of a cluster that is created now: as configured, or by the machine's cores.
    pub(crate) fn groups_at_creation(&self, cores: usize) -> u16 {
        match self.cluster.groups {
            0 => u16::try_from(cores.clamp(1, 16)).expect("at most 16"),
            groups => groups,
        }
    }

    /// Shard groups of a cluster that `nodes` nodes with `cores` cores each found now.
    pub(crate) fn groups_at_founding(&self, nodes: usize, cores: usize) -> u16 {
        match self.cluster.groups {
            0 => u16::try_from((nodes * (cores / 2).max(1)).clamp(1, 64)).expect("at most 64"),
            groups => groups,
        }
    }

    /// Whether the node is one of several, or may come to be.
    pub(crate) fn is_clustered(&self) -> bool {
        let Config { server, cluster, .. } = self;
        server.role != RoleWord::All || cluster.bootstrap_expect > 0 || !cluster.seeds.0.is_empty()
    }

    /// Checks every field's range and the fields against each other. Each problem names the
    /// field, its value and the rule.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut range = |name: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push(format!("{name} is {value}; must be {min} to {max}"));
            }
        };
        range("server.maxclients", self.server.maxclients as u64, 1, 1 << 20);
        range("server.request_timeout_ms", self.server.request_timeout_ms, 100, 120_000);
        range("server.threads", self.server.threads as u64, 0, 1024);
        range("server.shutdown_grace_ms", self.server.shutdown_grace_ms, 0, 60_000);
        range("storage.sync_interval_ms", self.storage.sync_interval_ms, 1, 60_000);
        range("storage.snapshot_log_bytes", self.storage.snapshot_log_bytes.0, 1 << 20, 64 << 30);
        range("cluster.groups", u64::from(self.cluster.groups), 0, u64::from(GROUPS_MAX));
        range("cluster.segment_width_log2", u64::from(self.cluster.segment_width_log2), 16, 26);
        range("cluster.bootstrap_expect", u64::from(self.cluster.bootstrap_expect), 0, 64);
        range("cluster.replicas", u64::from(self.cluster.replicas), 1, 7);
        let heartbeat_ms = self.cluster.heartbeat_ms;
        range("cluster.heartbeat_ms", heartbeat_ms, 20, 2_000);
        let election_ms = self.cluster.election_timeout_ms;
        range("cluster.election_timeout_ms", election_ms, 4 * heartbeat_ms, 20_000);
        let bulk_bytes = self.limits.proto_max_bulk_len.0;
        range("limits.proto_max_bulk_len", bulk_bytes, 1 << 20, BULK_BYTES_MAX as u64);
        range("limits.bitmap_max_bits", self.limits.bitmap_max_bits, 1 << 20, BITMAP_BITS_MAX);
        if self.server.data_dir.is_empty() {
            problems.push("server.data_dir is empty; must name a folder".to_owned());
        }
        self.port_problems(&mut problems);
        self.cluster_problems(&mut problems);
        self.tls_problems(&mut problems);
        if let Err(error) = log::check_level(&self.log.level) {
            problems.push(format!("log.level: {error}"));
        }
        if let Err(error) = self.log.format.parse::<log::Format>() {
            problems.push(format!("log.format: {error}"));
        }
        problems
    }
}

impl Config {
    fn tls_problems(&self, problems: &mut Vec<String>) {
        let TlsConfig { clients, port, cert_file, key_file, ca_file, auth_clients, nodes, .. } =
            &self.tls;
        if !clients.has_tls() && !nodes {
            return;
        }
        if cert_file.is_empty() || key_file.is_empty() {
            problems.push("tls.cert_file and tls.key_file must name files".to_owned());
        }
        if ca_file.is_empty() && (*nodes || *auth_clients != AuthWord::No) {
            problems.push("tls.ca_file must name a file: it says who is let in".to_owned());
        }
        if *port != 0 && clients.has_tls() && *port == self.server.port {
            problems.push(format!("tls.port and server.port are both {port}; must differ"));
        }
    }

    /// Clients, gRPC clients and operators have ports of their own.
    fn port_problems(&self, problems: &mut Vec<String>) {
        let ServerConfig { port, admin_port, grpc, grpc_port, .. } = self.server;
        let mut differ = |a: (&str, u16), b: (&str, u16)| {
            if a.1 != 0 && a.1 == b.1 {
                problems.push(format!("{} and {} are both {}; must differ", a.0, b.0, a.1));
            }
        };
        let (clients, operators) = (("server.port", port), ("server.admin_port", admin_port));
        differ(clients, operators);
        if grpc {
            differ(clients, ("server.grpc_port", grpc_port));
            differ(("server.grpc_port", grpc_port), operators);
        }
    }

    fn cluster_problems(&self, problems: &mut Vec<String>) {
        let ClusterConfig { seeds, bootstrap_expect, bind, advertise, .. } = &self.cluster;
        if self.server.role == RoleWord::Router && *bootstrap_expect > 0 {
            problems.push(format!(
                "cluster.bootstrap_expect is {bootstrap_expect}, but a router founds no cluster"
            ));
        }
        if seeds.0.is_empty() && (self.server.role == RoleWord::Router || *bootstrap_expect > 1) {
            problems.push(
                "cluster.seeds is empty; must name nodes, such as [\"10.0.0.1:7380\"]".to_owned(),
            );
        }
        if self.server.role == RoleWord::Shard && seeds.0.is_empty() && *bootstrap_expect == 0 {
            problems.push(
                "cluster.seeds is empty and cluster.bootstrap_expect is 0: a shard node must join \
                 or found a cluster"
                    .to_owned(),
            );
        }
        if self.is_clustered() && advertise.is_empty() && bind.is_unspecified() {
            problems.push(format!(
                "cluster.bind is {bind}: say in cluster.advertise where other nodes reach this one"
            ));
        }
        if !advertise.is_empty() && !is_address(advertise) {
            problems.push(format!("cluster.advertise is '{advertise}'; must be host:port"));
        }
        for seed in seeds.0.iter().filter(|seed| !is_address(seed)) {
            problems.push(format!("cluster.seeds has '{seed}'; must be host:port"));
        }
    }
}

/// The commented file that `bitroster config example` prints: every field at its default.
pub(crate) fn example() -> String {
    let mut out = String::from(
        "# Bitroster's configuration. Every field is shown at its default.\n\
         # Environment: BITROSTER_<TABLE>__<FIELD>. Flag: --set <table>.<field>=<value>.\n",
    );
    let fields = Config::default().fields();
    for table in Config::tables() {
        out.push('\n');
        comment(table.docs, &mut out);
        out.push_str(&format!("[{}]\n", table.name));
        for field in fields.iter().filter(|field| field.table == table.name) {
            out.push('\n');
            comment(field.docs, &mut out);
            out.push_str(&format!("{} = {}\n", field.name, field.value));
        }
    }
    out
}

fn comment(docs: &[&str], out: &mut String) {
    for line in docs {
        out.push_str(format!("#{line}").trim_end());
        out.push('\n');
    }
}
