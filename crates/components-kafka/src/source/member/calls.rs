//! Callbacks of the client: its log, its errors, and rebalances of the group.

use std::error::Error;

use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::Member;
use crate::client;
use crate::token;

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log((&self.name, &self.broker_failure), level, facility, text);
    }

    fn error(&self, error: KafkaError, text: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.state().all_down = true;
        }
        client::log_error(&self.name, &error, text);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::answer(self.token.as_ref(), &self.name)
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        given: &mut TopicPartitionList,
    ) {
        let in_steps = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let list = self.assign(consumer, given).unwrap_or_else(|error| {
                    let failure = format!(
                        "cannot find the start positions of assigned partitions: {error}; \
                         retrying; check the brokers"
                    );
                    self.state().failure = Some(failure);
                    TopicPartitionList::new()
                });
                self.state().generation += 1;
                if in_steps { consumer.incremental_assign(&list) } else { consumer.assign(&list) }
            }
            _ => {
                self.revoke(consumer, given);
                if in_steps { consumer.incremental_unassign(given) } else { consumer.unassign() }
            }
        };
        if let Err(error) = done {
            self.state().failure = Some(format!(
                "cannot apply a new assignment of partitions: {error}; retrying; check the brokers"
            ));
        }
    }
}
