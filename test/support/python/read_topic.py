# Reads partition 0 of one topic to its end with confluent-kafka's AvroDeserializer (fastavro), and prints a JSON array a record:
# its key and its value. What JSON has no type for is printed as the name of its Python type and its text, an integer that JavaScript
# would round too; a value that is not deserialized as `refused` and the name of its error.
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext



def printable(value):
    if isinstance(value, dict):
        return {name: printable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [printable(each) for each in value]
    if value is None or isinstance(value, (bool, float, str)) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return f"{type(value).__name__} {value}"


def deserialized(data, field):
    try:
        return printable(deserialize(data, SerializationContext(topic, field)))
    except Exception as error:
        return f"refused {type(error).__name__}"


brokers, registry, topic = sys.argv[1:]
deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "foreign", "enable.auto.commit": False})
_, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
offset = -1
while offset < end - 1:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f"nothing came after offset {offset} of {end}")
    if message.error():
        sys.exit(str(message.error()))
    offset = message.offset()
    print(json.dumps([deserialized(message.key(), MessageField.KEY), deserialized(message.value(), MessageField.VALUE)]))
consumer.close()
