//! Runs the adapter: `ura-example-archive adapter.toml`.

fn main() -> std::process::ExitCode {
    let config = std::env::args_os().nth(1).unwrap_or_else(|| "adapter.toml".into());
    let services = ura_example_archive::services().expect("the descriptors are those of the contract");
    ura_adapters::program::written(config.as_ref(), services)
}
