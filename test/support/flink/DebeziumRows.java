// Reads one topic to its end as a Flink table of format debezium-avro-confluent, and prints what each record becomes: rows as
// Flink prints them, `+I[…]`, `-U[…]`, `+U[…]`, `-D[…]`; `refused` with the reason when the format does not take the record.
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.formats.avro.registry.confluent.debezium.DebeziumAvroFormatFactory;
import org.apache.flink.table.connector.RuntimeConverter;
import org.apache.flink.table.connector.sink.DynamicTableSink.DataStructureConverter;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.runtime.connector.sink.SinkRuntimeProviderContext;
import org.apache.flink.table.runtime.connector.source.ScanRuntimeProviderContext;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.utils.LogicalTypeParser;
import org.apache.flink.table.types.utils.TypeConversions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class DebeziumRows {
  /** brokers, the registry's URL, the topic (its partition 0 is read), the row's type as in Flink's SQL: `ROW<id BIGINT, …>`. */
  public static void main(String[] args) throws Exception {
    ClassLoader loader = DebeziumRows.class.getClassLoader();
    DataType type = TypeConversions.fromLogicalToDataType(LogicalTypeParser.parse(args[3], loader));
    Configuration options = new Configuration();
    options.setString("url", args[1]);
    DeserializationSchema<RowData> format =
        new DebeziumAvroFormatFactory().createDecodingFormat(null, options).createRuntimeDecoder(ScanRuntimeProviderContext.INSTANCE, type);
    format.open(null);
    DataStructureConverter external = new SinkRuntimeProviderContext(false).createDataStructureConverter(type);
    external.open(RuntimeConverter.Context.create(loader));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (ConsumerRecord<byte[], byte[]> record : records(args[0], new TopicPartition(args[2], 0))) {
      List<RowData> rows = new java.util.ArrayList<>();
      try {
        format.deserialize(record.value(), new ListCollector<>(rows));
        for (RowData row : rows) out.println(external.toExternal(row));
      } catch (java.io.IOException refused) {
        Throwable cause = refused.getCause() == null ? refused : refused.getCause();
        out.println("refused " + String.valueOf(cause.getMessage()).replace("\n", " "));
      }
    }
  }

  /** All that stand in the partition now, in order. */
  private static List<ConsumerRecord<byte[], byte[]>> records(String brokers, TopicPartition partition) {
    Map<String, Object> options = Map.of("bootstrap.servers", brokers, "enable.auto.commit", false);
    List<ConsumerRecord<byte[], byte[]>> all = new java.util.ArrayList<>();
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(options, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.assign(List.of(partition));
      consumer.seekToBeginning(List.of(partition));
      long end = consumer.endOffsets(List.of(partition)).get(partition);
      while (consumer.position(partition) < end) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) all.add(record);
      }
    }
    return all;
  }
}
