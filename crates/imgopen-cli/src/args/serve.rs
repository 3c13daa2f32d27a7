//! The arguments of `imgopen serve`, which `imgopen config show` takes too.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use ipnet::IpNet;
use url::Url;

use super::address;

/// The flags of the service. All but `--config` are settings.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// The address to listen on, or a name; a port alone, such as :8080, is one of this machine, and port 0 a free one
    /// [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    pub listen: Option<SocketAddr>,
    /// The directory that holds all of the service's data [default: imgopen-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The database of PostgreSQL that several processes share, in place of one in the data directory. Its password may be in the
    /// URL, in the file of `database.password_file`, or in the variable PGPASSWORD.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// What the process does, if several share a database [default: all].
    #[arg(long, value_name = "ROLE")]
    pub role: Option<Role>,
    /// The directory of the models, laid out as by the Stable Diffusion web UI or ComfyUI [default: models in the data
    /// directory].
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// The bucket to keep result pictures in, such as `s3://bucket/prefix`, in place of the data directory; its server and access
    /// key are settings of `storage`, or variables as for other programs for AWS.
    #[arg(long, value_name = "URL")]
    pub storage: Option<String>,
    /// A program that makes pictures: sd-server, ComfyUI, or A1111 or Forge with `--api`. What answers there is found out. In
    /// place of those in the settings file; repeatable.
    #[arg(long = "backend", value_name = "URL")]
    pub backends: Vec<Url>,
    /// Answer operations that have no real engine with labelled test cards.
    #[arg(long)]
    pub sandbox: bool,
    /// Accept callers without a key, or with any placeholder; only on a loopback address.
    #[arg(long)]
    pub open: bool,
    /// A private network to fetch pictures from and push callbacks to; repeatable.
    #[arg(long, value_name = "CIDR", value_parser = imgopen_service::network)]
    pub allow_network: Vec<IpNet>,
    /// The origin of web pages that may call the service from a browser, such as `https://app.example.com`; `*` for all;
    /// repeatable.
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Let results keep where the pictures that they are made of were taken (GPS).
    #[arg(long)]
    pub keep_location: bool,
    /// The address at which callers reach the service; URLs of pictures begin with it.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// How many tasks run at the same time [default: the number of cores].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// The form of the log.
    #[arg(long, value_name = "FORM")]
    pub log: Option<Log>,
    /// Any other setting; repeatable.
    #[arg(long, value_name = "SETTING=VALUE")]
    pub set: Vec<String>,
    /// A settings file in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a process does of a service.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// It answers calls and runs tasks.
    All,
    /// It answers calls and pushes callbacks.
    Api,
    /// It runs tasks, and answers only /healthz, /readyz and /metrics.
    Worker,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Log {
    /// One line of text for each event.
    Human,
    /// One JSON object for each event.
    Json,
}
