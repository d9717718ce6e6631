//! The object is what the shared list of names says, and the list is what the object has.

use std::collections::BTreeSet;

use aya::EbpfLoader;
use culvert::kernel::OBJECT;
use culvert_abi::names::{maps, programs};

/// The programs' log, and the sections that the compiler puts constants into.
fn is_ours(map: &str) -> bool {
    map != "AYA_LOGS" && !map.starts_with(".rodata")
}

#[test]
fn every_program_and_map_is_listed_and_there() {
    let object = EbpfLoader::new().load(OBJECT).unwrap();
    let found: BTreeSet<&str> = object.programs().map(|(name, _)| name).collect();
    assert_eq!(found, programs::ALL.iter().copied().collect());
    let found = object.maps().map(|(name, _)| name).filter(|name| is_ours(name));
    assert_eq!(found.collect::<BTreeSet<_>>(), maps::ALL.iter().copied().collect());
}
