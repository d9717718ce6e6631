//! Where what a resource says goes.

use serde_json::value::RawValue;

use super::wire::Change;

/// Takes in what a resource says. It never fails: what cannot be taken in becomes a problem of the cluster's.
pub(super) trait Sink: Send {
    /// What was listed so far.
    type Listing: Default + Send;

    /// Takes in one page of a list that is not complete yet. Nothing of it is in force.
    fn page(&self, listing: &mut Self::Listing, items: &[&RawValue]);

    /// Puts a complete list in force: what is not in it is gone.
    fn complete(&mut self, listing: Self::Listing);

    /// Puts changes in force, in their order.
    fn change(&mut self, changes: &[Change<'_>]);
}
