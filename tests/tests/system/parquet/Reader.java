// Prints the files of Parquet in a directory: of each file its name, its row groups with their
// statistics, and its schema; then each row. A file that Parquet's own reader refuses ends it.
//
//   Reader DIRECTORY      file NAME
//                         group ROWS MIN MAX NULLS     of its first column
//                         schema TEXT
//                         row VALUE <tab> VALUE …      numbers with a fraction by their bits

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.StringJoiner;

import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.column.statistics.Statistics;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.PrimitiveType;

public final class Reader {
  public static void main(String[] arguments) throws Exception {
    Configuration configuration = new Configuration();
    Path directory = new Path(arguments[0]);
    StringBuilder out = new StringBuilder();
    FileStatus[] files = directory.getFileSystem(configuration).listStatus(directory);
    Arrays.sort(files);
    for (FileStatus status : files) {
      if (!status.isFile()) {
        continue;
      }
      Path file = status.getPath();
      out.append("file ").append(file.getName()).append('\n');
      try (ParquetFileReader reader =
          ParquetFileReader.open(HadoopInputFile.fromStatus(status, configuration))) {
        for (BlockMetaData block : reader.getFooter().getBlocks()) {
          Statistics<?> first = block.getColumns().get(0).getStatistics();
          out.append("group ").append(block.getRowCount());
          out.append(' ').append(first.minAsString()).append(' ').append(first.maxAsString());
          out.append(' ').append(first.getNumNulls()).append('\n');
        }
        String schema = reader.getFileMetaData().getSchema().toString();
        out.append("schema ").append(schema.replaceAll("\\s+", " ").trim()).append('\n');
      }
      try (ParquetReader<Group> rows =
          ParquetReader.builder(new GroupReadSupport(), file).withConf(configuration).build()) {
        for (Group row = rows.read(); row != null; row = rows.read()) {
          out.append("row ").append(text(row)).append('\n');
        }
      }
    }
    System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
    System.out.flush();
  }

  private static String text(Group row) {
    GroupType type = row.getType();
    StringJoiner text = new StringJoiner("\t");
    for (int field = 0; field < type.getFieldCount(); field++) {
      boolean isNull = row.getFieldRepetitionCount(field) == 0;
      text.add(isNull ? "-" : value(row, field, type.getType(field).asPrimitiveType()));
    }
    return text.toString();
  }

  private static String value(Group row, int field, PrimitiveType type) {
    switch (type.getPrimitiveTypeName()) {
      case DOUBLE:
        return Long.toHexString(Double.doubleToRawLongBits(row.getDouble(field, 0)));
      case FLOAT:
        return Integer.toHexString(Float.floatToRawIntBits(row.getFloat(field, 0)));
      case FIXED_LEN_BYTE_ARRAY:
        return new BigInteger(row.getBinary(field, 0).getBytes()).toString();
      case BINARY:
        LogicalTypeAnnotation meaning = type.getLogicalTypeAnnotation();
        if (meaning == null) {
          return new BigInteger(1, row.getBinary(field, 0).getBytes()).toString(16);
        }
        return row.getString(field, 0);
      default:
        return row.getValueToString(field, 0);
    }
  }
}
