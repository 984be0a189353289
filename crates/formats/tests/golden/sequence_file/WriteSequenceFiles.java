// Writes the files of this folder with Hadoop's own writer, which is what Flume's HDFS sink calls.
//
//   java -cp "$(deploy/hadoop/hdfs jars)/*" WriteSequenceFiles.java FOLDER
//
// needs a JDK. The test `sequence_file` of the crate holds our files against them.
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.SequenceFile;
import org.apache.hadoop.io.SequenceFile.CompressionType;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.Writable;
import org.apache.hadoop.io.compress.CompressionCodec;
import org.apache.hadoop.util.ReflectionUtils;

public class WriteSequenceFiles {
  public static void main(String[] arguments) throws Exception {
    Configuration conf = new Configuration();
    conf.setInt("io.seqfile.compress.blocksize", 8 * 1024);
    String codecs = "org.apache.hadoop.io.compress.";
    for (boolean isText : new boolean[] {false, true}) {
      write(arguments[0], conf, isText, CompressionType.NONE, null);
      write(arguments[0], conf, isText, CompressionType.RECORD, codecs + "DefaultCodec");
      write(arguments[0], conf, isText, CompressionType.BLOCK, codecs + "DefaultCodec");
    }
    for (String codec : new String[] {"SnappyCodec", "BZip2Codec", "Lz4Codec"}) {
      write(arguments[0], conf, false, CompressionType.BLOCK, codecs + codec);
      write(arguments[0], conf, true, CompressionType.RECORD, codecs + codec);
    }
  }

  static void write(String folder, Configuration conf, boolean isText, CompressionType type,
      String codecClass) throws Exception {
    String format = isText ? "text" : "writable";
    String codec = codecClass == null || codecClass.endsWith("DefaultCodec") ? "" : "-"
        + codecClass.replaceAll(".*\\.|Codec", "").toLowerCase();
    String name = folder + "/" + format + "-" + type.toString().toLowerCase() + codec + ".seq";
    CompressionCodec made = codecClass == null ? null : (CompressionCodec)
        ReflectionUtils.newInstance(Class.forName(codecClass), conf);
    SequenceFile.Writer.Option compression = made == null
        ? SequenceFile.Writer.compression(type) : SequenceFile.Writer.compression(type, made);
    // Hadoop sets a sync marker behind 102,400 bytes: one file has to go beyond that.
    int records = name.endsWith("writable-none.seq") ? 1_100 : 200;
    try (SequenceFile.Writer writer = SequenceFile.createWriter(conf,
        SequenceFile.Writer.file(new Path("file://" + name)),
        SequenceFile.Writer.keyClass(LongWritable.class),
        SequenceFile.Writer.valueClass(isText ? Text.class : BytesWritable.class),
        compression)) {
      for (int number = 0; number < records; number++) {
        byte[] body = body(number);
        Text text = new Text();
        text.set(body);
        Writable value = isText ? text : new BytesWritable(body);
        writer.append(new LongWritable(1_700_000_000_000L + number), value);
      }
    }
  }

  // Of each length from 0 to 199, so lengths of one and of two bytes; UTF-8, as Text asks for.
  static byte[] body(int number) {
    byte[] body = new byte[number % 200];
    for (int at = 0; at < body.length; at++) {
      body[at] = (byte) ('a' + (number + at) % 26);
    }
    return body;
  }
}
