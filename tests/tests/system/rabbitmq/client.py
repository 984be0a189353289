"""An application of RabbitMQ, by pika:

    client.py URL setup                          exchanges and queues
    client.py URL send QUEUE PREFIX FROM TO      texts PREFIX-n, in transactions
    client.py URL publish EXCHANGE KEY BODY...
    client.py URL kinds QUEUE                    one message with every property and type of header
    client.py URL large QUEUE BYTES
    client.py URL declare QUEUE
    client.py URL delete QUEUE
    client.py URL count QUEUE                    prints how many messages it has
    client.py URL receive QUEUE COUNT            prints messages until so many different bodies came
"""

import datetime
import decimal
import json
import sys

import pika

url, command, *arguments = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
durable = pika.BasicProperties(delivery_mode=2)


def setup():
    channel.exchange_declare("logs", "topic", durable=True)
    channel.exchange_declare("letters", "fanout", durable=True)
    channel.queue_declare("letters", durable=True)
    channel.queue_bind("letters", "letters")
    channel.queue_declare("orders", durable=True)
    channel.queue_declare("kinds", durable=True, arguments={"x-dead-letter-exchange": "letters"})
    channel.queue_declare("held", durable=True)
    channel.exchange_declare("out", "topic", durable=True)
    channel.queue_declare("out", durable=True)
    channel.queue_bind("out", "out", "line.#")


def send(queue, prefix, first, last):
    channel.tx_select()
    for number in range(int(first), int(last)):
        channel.basic_publish("", queue, f"{prefix}-{number}".encode(), durable)
        if number % 200 == 199:
            channel.tx_commit()
    channel.tx_commit()


def publish(exchange, key, *bodies):
    channel.confirm_delivery()
    for body in bodies:
        channel.basic_publish(exchange, key, body.encode(), durable, mandatory=True)


def kinds(queue):
    headers = {
        "site": "straße",
        "flag": True,
        "long": 1 << 40,
        "decimal": decimal.Decimal("3.14"),
        "at": datetime.datetime.fromtimestamp(1700000000, datetime.timezone.utc),
        "bytes": b"a\xff",
        "list": [{"queue": "a", "count": 3}],
        "nothing": None,
    }
    properties = pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", headers=headers, delivery_mode=2,
        priority=3, correlation_id="correlated", reply_to="answers", message_id="id-1",
        timestamp=1700000000, type="kind", user_id="guest", app_id="shop")
    channel.basic_publish("", queue, "Zürich".encode(), properties)
    channel.basic_publish("", queue, b"", durable)


def large(queue, size):
    channel.basic_publish("", queue, b"L" * int(size), durable)


def receive(queue, count):
    different = set()
    for method, properties, body in channel.consume(queue, inactivity_timeout=20):
        if method is None:
            sys.exit(f"{len(different)} of {count} bodies came")
        different.add(body)
        print(json.dumps({
            "body": body.decode(), "id": properties.message_id, "key": method.routing_key,
            "mode": properties.delivery_mode, "type": properties.content_type,
            "headers": properties.headers}, default=str))
        channel.basic_ack(method.delivery_tag)
        if len(different) >= int(count) and left(queue) == 0:
            break


def left(queue):
    return channel.queue_declare(queue, passive=True).method.message_count


match command:
    case "setup":
        setup()
    case "send":
        send(*arguments)
    case "publish":
        publish(*arguments)
    case "kinds":
        kinds(*arguments)
    case "large":
        large(*arguments)
    case "declare":
        channel.queue_declare(*arguments, durable=True)
    case "delete":
        channel.queue_delete(*arguments)
    case "count":
        print(left(*arguments))
    case "receive":
        receive(*arguments)
connection.close()
