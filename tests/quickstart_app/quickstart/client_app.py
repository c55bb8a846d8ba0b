"""A softmax regression on one part of scikit-learn's digits; parameters travel as a list."""

from __future__ import annotations

import warnings

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

app = ClientApp()


def load_data(part: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return images[part::parts] / 16.0, labels[part::parts]


def model_of(arrays: ArrayRecord) -> LogisticRegression:
    model = LogisticRegression(max_iter=3, warm_start=True)
    model.classes_ = np.arange(10)
    model.coef_, model.intercept_ = (values.copy() for values in arrays.to_numpy_ndarrays())
    return model


def data_of(context: Context) -> tuple[np.ndarray, np.ndarray]:
    own = context.node_config
    return load_data(int(own["partition-id"]), int(own["num-partitions"]))


@app.train()
def train(message: Message, context: Context) -> Message:
    images, labels = data_of(context)
    model = model_of(message.content["arrays"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(images, labels)
    loss = log_loss(labels, model.predict_proba(images), labels=model.classes_)
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(labels)})
    arrays = ArrayRecord([model.coef_, model.intercept_])
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    images, labels = data_of(context)
    accuracy = model_of(message.content["arrays"]).score(images, labels)
    metrics = MetricRecord({"accuracy": accuracy, "num-examples": len(labels)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
