//! The three classes agree: what is kept fresh by the new rows is what a run over all rows yields, whatever comes when.
//! Both halves of the engine are driven by hand here, so that nothing depends on threads and clocks.

mod agree;
mod behind;
mod bench;
mod flow;
mod large;
mod live;
mod room;
