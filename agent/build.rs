//! Hands the object with the kernel's programs to the agent, which carries it inside.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=CULVERT_EBPF_OBJECT");
    let object = object();
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env=CULVERT_EBPF_OBJECT={}", object.display());
    } else {
        println!("cargo::error={} is missing: run `cargo xtask build` first", object.display());
    }
}

fn object() -> PathBuf {
    env::var_os("CULVERT_EBPF_OBJECT").map_or_else(built_by_xtask, PathBuf::from)
}

fn built_by_xtask() -> PathBuf {
    let agent = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    agent.join("../target/ebpf/culvert.o")
}
