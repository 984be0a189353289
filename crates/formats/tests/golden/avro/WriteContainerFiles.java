// Writes the files of this folder with Avro's own library, and what Flume's deserializer makes of them.
//
//   java -cp "LIB/*" WriteContainerFiles.java FOLDER
//
// needs a JDK; LIB is `lib` of an unpacked Flume 1.11.0. The tests of the decoder `avro` read them.
import java.io.*;
import java.nio.file.*;
import java.util.*;
import org.apache.avro.*;
import org.apache.avro.file.*;
import org.apache.avro.generic.*;
import org.apache.flume.*;
import org.apache.flume.serialization.*;

public class WriteContainerFiles {
  static final String SCHEMA = "{ \"type\": \"record\", \"name\": \"Visit\", \"namespace\": \"org.example.web\", \"doc\": \"A \\\"visit\\\".\", \"aliases\": [\"Hit\"], \"fields\": ["
    + "{ \"name\": \"page\", \"type\": \"string\", \"doc\": \"p\" },"
    + "{ \"name\": \"status\", \"type\": \"int\", \"default\": 200 },"
    + "{ \"name\": \"kind\", \"type\": { \"type\": \"enum\", \"name\": \"Kind\", \"symbols\": [\"GET\", \"POST\"] } },"
    + "{ \"name\": \"again\", \"type\": [\"null\", \"Kind\"], \"default\": null },"
    + "{ \"name\": \"address\", \"type\": { \"type\": \"fixed\", \"name\": \"org.example.net.Address\", \"size\": 4 } },"
    + "{ \"name\": \"at\", \"type\": { \"type\": \"long\", \"logicalType\": \"timestamp-millis\" } },"
    + "{ \"name\": \"tags\", \"type\": { \"type\": \"array\", \"items\": \"string\" } },"
    + "{ \"name\": \"sizes\", \"type\": { \"type\": \"map\", \"values\": \"double\" } },"
    + "{ \"name\": \"from\", \"type\": [\"null\", \"Visit\"], \"default\": null } ] }";

  static GenericRecord record(Schema schema, int n, int depth) {
    GenericData.Record r = new GenericData.Record(schema);
    r.put("page", "/p/" + n + (n % 3 == 0 ? "?q=\u00e4\n" : ""));
    r.put("status", n % 2 == 0 ? 200 : 404);
    Schema kind = schema.getField("kind").schema();
    r.put("kind", new GenericData.EnumSymbol(kind, n % 2 == 0 ? "GET" : "POST"));
    r.put("again", n % 3 == 0 ? null : new GenericData.EnumSymbol(kind, "POST"));
    r.put("address", new GenericData.Fixed(schema.getField("address").schema(), new byte[] {10, 0, 0, (byte) n}));
    r.put("at", 1700000000000L + n);
    r.put("tags", n % 2 == 0 ? Arrays.asList() : Arrays.asList("a", "tag " + n));
    r.put("sizes", n % 4 == 0 ? Collections.emptyMap() : Collections.singletonMap("w" + n, n * 0.5));
    r.put("from", depth == 0 || n % 5 != 0 ? null : record(schema, n + 1, depth - 1));
    return r;
  }

  public static void main(String[] args) throws Exception {
    Path out = Paths.get(args[0]);
    Schema schema = new Schema.Parser().parse(SCHEMA);
    for (String codec : new String[] {"null", "deflate", "snappy", "zstandard", "bzip2", "xz"}) {
      File file = out.resolve(codec + ".avro").toFile();
      try (DataFileWriter<GenericRecord> w = new DataFileWriter<>(new GenericDatumWriter<GenericRecord>(schema))) {
        w.setCodec(CodecFactory.fromString(codec));
        w.setMeta("written.by", "Avro");
        byte[] sync = new byte[16]; Arrays.fill(sync, (byte) 0xa5); sync[0] = 1;
        w.create(schema, new FileOutputStream(file), sync);
        for (int n = 0; n < 12; n++) {
          w.append(record(schema, n, 2));
          if (n == 4 || n == 5) w.sync();
        }
      } catch (Throwable e) { System.err.println(codec + ": " + e); continue; }
      for (String type : new String[] {"HASH", "LITERAL"}) {
        if (!codec.equals("null")) break;
        Context context = new Context();
        context.put("deserializer", "AVRO");
        context.put("schemaType", type);
        File meta = File.createTempFile("meta", "x"); meta.delete();
        PositionTracker tracker = DurablePositionTracker.getInstance(meta, file.getPath());
        ResettableInputStream in = new ResettableFileInputStream(file, tracker);
        EventDeserializer d = new AvroEventDeserializer.Builder().build(context, in);
        try (PrintWriter p = new PrintWriter(out.resolve("flume-" + type.toLowerCase() + ".txt").toFile(), "UTF-8")) {
          for (Event e = d.readEvent(); e != null; e = d.readEvent()) {
            StringBuilder hex = new StringBuilder();
            for (byte b : e.getBody()) hex.append(String.format("%02x", b));
            p.print(hex); 
            for (Map.Entry<String, String> h : e.getHeaders().entrySet()) p.print("\t" + h.getKey() + "=" + h.getValue());
            p.println();
          }
        }
      }
    }
  }
}
