//! What a long life needs no more of what a start needed.

use std::ops::Range;

use crate::sys;

/// Gives back what only starting needed: what is free on the heap, and the program's pages that nobody runs any more.
pub fn settle() {
    sys::trim_heap();
    if let Err(error) = sys::let_go_of_code() {
        tracing::debug!(%error, "the start's memory is kept");
    }
}

/// The mappings of files in `/proc/PID/smaps` (proc(5)) that are as their files are: private, not to be written, and
/// without a page of their own. What the loader has relocated has such pages.
pub(crate) fn unwritten(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = None;
    for line in smaps.lines() {
        if let Some(mapping) = Mapping::parse(line) {
            at = Some(mapping);
        } else if let Some(own) = line.strip_prefix("Anonymous:") {
            let untouched = own.trim() == "0 kB";
            found.extend(
                at.take().filter(|mapping| untouched && mapping.is_unwritable_file()).map(|it| it.range),
            );
        }
    }
    found
}

struct Mapping<'a> {
    range: Range<usize>,
    rights: &'a str,
    path: &'a str,
}

impl<'a> Mapping<'a> {
    /// From a line such as `5605a000-5605c000 r-xp 00000000 fe:00 42  /usr/bin/culvert`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        Some(Self { range, rights: fields.next()?, path: fields.nth(3).unwrap_or_default() })
    }

    fn is_unwritable_file(&self) -> bool {
        matches!(self.rights, "r--p" | "r-xp") && self.path.starts_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_its_file_is_let_go_of() {
        let smaps = "\
1000-3000 r-xp 00000000 fe:00 42    /usr/bin/culvert
Rss:                   8 kB
Anonymous:             0 kB
3000-4000 r--p 00002000 fe:00 42    /usr/bin/culvert
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 42    /usr/bin/culvert
Anonymous:             0 kB
5000-6000 rw-p 00000000 00:00 0     [heap]
Anonymous:             0 kB
6000-7000 r--s 00001000 00:0e 11    anon_inode:bpf-map
Anonymous:             0 kB
7000-8000 r-xp 00000000 00:00 0     [vdso]
Anonymous:             0 kB
8000-9000 r--p 00000000 fe:00 43    /usr/lib/libc.so.6
Anonymous:             0 kB
";
        assert_eq!(unwritten(smaps), [0x1000..0x3000, 0x8000..0x9000]);
    }

    #[test]
    fn a_program_runs_on_without_the_pages_of_its_start() {
        let before = String::from("on the heap");
        settle();
        assert_eq!(before, "on the heap");
        assert!(std::thread::spawn(|| "in a new thread".len()).join().is_ok_and(|length| length == 15));
    }
}
