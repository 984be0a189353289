// Writes `nested.parquet` of this folder with parquet-mr: lists, maps and groups, as its own writers
// of Avro, Hive and Thrift lay them out.
//
//   java -cp "JARS/*" WriteNested.java FILE
//
// needs a JDK and the jars of `tests/tests/system/parquet/pom.xml`. The test `rows` of the crate holds what is
// read of the file against the rows here.
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

public class WriteNested {
  public static void main(String[] arguments) throws Exception {
    MessageType schema = MessageTypeParser.parseMessageType("message m {"
        + " required int64 id;"
        + " optional group point { required double x; optional binary name (STRING); }"
        + " optional group list (LIST) { repeated group list { optional int32 element; } }"
        + " optional group old (LIST) { repeated int32 array; }"
        + " repeated binary bare (STRING);"
        + " optional group lists (LIST) { repeated group list {"
        + "   optional group element (LIST) { repeated group list { optional int32 element; } } } }"
        + " optional group map (MAP) { repeated group key_value {"
        + "   required binary key (STRING); optional int32 value; } }"
        + " optional group numbers (MAP) { repeated group key_value {"
        + "   required int32 key; optional group value { optional int32 n; } } }"
        + " optional group pairs (LIST) { repeated group pairs_tuple {"
        + "   optional int32 a; repeated int32 b; } }"
        + " optional binary end (STRING); }");
    SimpleGroupFactory factory = new SimpleGroupFactory(schema);
    try (ParquetWriter<Group> writer = ExampleParquetWriter.builder(new Path(arguments[0]))
        .withType(schema).withConf(new Configuration()).build()) {
      Group row = factory.newGroup().append("id", 1L);
      row.addGroup("point").append("x", 1.5).append("name", "a\"b");
      Group list = row.addGroup("list");
      list.addGroup("list").append("element", 7);
      list.addGroup("list");
      list.addGroup("list").append("element", -8);
      row.addGroup("old").append("array", 1).append("array", 2);
      row.append("bare", "x").append("bare", "y");
      Group lists = row.addGroup("lists");
      Group inner = lists.addGroup("list").addGroup("element");
      inner.addGroup("list").append("element", 1);
      inner.addGroup("list").append("element", 2);
      lists.addGroup("list");
      lists.addGroup("list").addGroup("element");
      lists.addGroup("list").addGroup("element").addGroup("list").append("element", 3);
      Group map = row.addGroup("map");
      map.addGroup("key_value").append("key", "k 1").append("value", 1);
      map.addGroup("key_value").append("key", "k 2");
      Group numbers = row.addGroup("numbers");
      numbers.addGroup("key_value").append("key", 5).addGroup("value").append("n", 50);
      numbers.addGroup("key_value").append("key", 6);
      numbers.addGroup("key_value").append("key", 7).addGroup("value");
      Group pairs = row.addGroup("pairs");
      pairs.addGroup("pairs_tuple").append("a", 1).append("b", 10).append("b", 11);
      pairs.addGroup("pairs_tuple");
      row.append("end", "e");
      writer.write(row);
      // Nothing is there.
      writer.write(factory.newGroup().append("id", 2L));
      // All is there, and empty.
      row = factory.newGroup().append("id", 3L);
      row.addGroup("point").append("x", -0.5);
      for (String name : new String[] {"list", "old", "lists", "map", "numbers", "pairs"}) {
        row.addGroup(name);
      }
      writer.write(row);
      // Many rows with lists of many lengths.
      for (int number = 4; number < 3000; number++) {
        row = factory.newGroup().append("id", (long) number);
        if (number % 3 != 0) {
          list = row.addGroup("list");
          for (int at = 0; at < number % 7; at++) {
            Group element = list.addGroup("list");
            if (at % 4 != 3) element.append("element", number + at);
          }
        }
        writer.write(row);
      }
    }
  }
}
