//! A line of a watch, or a page of a list.

use super::*;

/// A change is of one object, however it is read, and gives a version to go on from.
pub(crate) fn run(data: &[u8]) -> bool {
    let event = Event::parse(data);
    match &event {
        Ok(Event::Change(change)) => {
            assert!(!change.version.is_empty() && is_within(change.object.get(), data));
            let told = name(change.object);
            assert_eq!(told.is_some(), !change.name.name.is_empty());
            assert!(told.is_none_or(|told| of(&told) == of(&change.name)));
        }
        Ok(Event::Bookmark(version)) => assert!(!version.is_empty()),
        Ok(Event::Error(_)) | Err(_) => {}
    }
    let Ok(page) = Page::parse(data) else { return event.is_ok() };
    assert!(page.next().is_none_or(|token| !token.is_empty()));
    assert!(page.version().is_ok_and(|version| !version.is_empty()) || page.version().is_err());
    assert!(page.items.iter().flatten().all(|item| is_within(item.get(), data)), "an object was copied");
    true
}

fn of<'a>(name: &'a Name<'_>) -> (&'a str, &'a str) {
    (&name.namespace, &name.name)
}

fn is_within(part: &str, whole: &[u8]) -> bool {
    let (part, whole) = (part.as_bytes().as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}
