"""A node, honest with a factor of 1; with another one its update is that many times as long."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from starter.task import digits_of, measured, trained

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    config = context.node_config
    images, labels = digits_of(config["partition-id"], config["num-partitions"])
    start = message.content["arrays"]["weight"].numpy()
    update = config["factor"] * (trained(start, images, labels) - start)
    arrays = ArrayRecord({"weight": Array((start + update).astype(start.dtype))})
    metrics = MetricRecord({"num-examples": len(labels)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    config = context.node_config
    images, labels = digits_of(config["partition-id"], config["num-partitions"])
    told = measured(message.content["arrays"]["weight"].numpy(), images, labels)
    return Message(RecordDict({"metrics": MetricRecord(told)}), reply_to=message)
