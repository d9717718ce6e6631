//! The line that somebody asks with.

use super::*;

/// What is understood means the same when it is written as the agent's own client writes it.
pub(crate) fn run(data: &[u8]) -> bool {
    let asked = Asked::parse(data);
    match &asked {
        Some(Asked::Status) => assert_eq!(data, STATUS),
        Some(Asked::Explain(question)) => {
            let json = serde_json::to_vec(question).expect("it has only keys that are text");
            assert_eq!(Asked::parse(&[EXPLAIN, &json, b"\n"].concat()), asked);
        }
        None => {}
    }
    asked.is_some()
}
