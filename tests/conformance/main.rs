//! The behaviours that the field's own suites check, one test a line; see README.md beside this file.

mod a_construction;
mod b_apply;
mod c_map;
mod d_imap;
mod e_unordered;
mod f_backpressure;
mod g_callbacks;
mod h_wait;
mod held;
mod i_cancel;
mod j_encoding;
mod k_crashes;
mod l_recycling;
mod m_initializer;
mod n_ending;
mod o_signals;
mod p_nesting;
mod q_resize;
mod r_stress;
mod scenes;
mod tasks;
mod warnings;

procession_harness::main!();
