//! The same webhooks in the words of other products.

mod clients;
mod codescoring;
mod deliveries;
mod rights;
mod sonarqube;
mod support;
