import java.io.File;
import java.util.HashSet;
import java.util.Set;

import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hive.metastore.HiveMetaStoreClient;
import org.apache.hadoop.hive.metastore.api.FieldSchema;
import org.apache.hadoop.hive.metastore.api.Partition;
import org.apache.hadoop.hive.metastore.api.Table;
import org.apache.hadoop.hive.metastore.conf.MetastoreConf;
import org.apache.hadoop.mapred.FileInputFormat;
import org.apache.hadoop.mapred.InputFormat;
import org.apache.hadoop.mapred.InputSplit;
import org.apache.hadoop.mapred.JobConf;
import org.apache.hadoop.mapred.RecordReader;
import org.apache.hadoop.mapred.Reporter;

/**
 * A table as Hive's own client sees it. {@code watch}: looks again and again, and prints each partition
 * when it is first seen, {@code early} where it has no file then. {@code read}: prints the table, its
 * partitions, and the rows that its input format reads in their locations. {@code describe}: without rows.
 */
public class Partitions {
    public static void main(String[] args) throws Exception {
        Configuration conf = MetastoreConf.newMetastoreConf();
        MetastoreConf.setVar(conf, MetastoreConf.ConfVars.THRIFT_URIS, args[1]);
        MetastoreConf.setLongVar(conf, MetastoreConf.ConfVars.THRIFT_CONNECTION_RETRIES, 1);
        if (args[0].equals("watch")) {
            watch(conf, args[2], args[3]);
        } else {
            read(conf, args[2], args[3], args[0].equals("read"));
        }
    }

    private static void watch(Configuration conf, String database, String name) throws Exception {
        Set<String> seen = new HashSet<>();
        while (true) {
            try {
                HiveMetaStoreClient client = new HiveMetaStoreClient(conf);
                while (true) {
                    for (Partition partition : client.listPartitions(database, name, (short) -1)) {
                        String location = partition.getSd().getLocation();
                        if (seen.add(location)) {
                            System.out.println((hasFile(location) ? "seen " : "early ") + location);
                        }
                    }
                    Thread.sleep(20);
                }
            } catch (Exception thereIsNoTableYetOrTheMetastoreIsDown) {
                Thread.sleep(50);
            }
        }
    }

    private static boolean hasFile(String location) {
        String[] names = new File(new Path(location).toUri().getPath()).list();
        for (String name : names == null ? new String[0] : names) {
            if (!name.startsWith("_") && !name.startsWith(".")) {
                return true;
            }
        }
        return false;
    }

    private static void read(Configuration conf, String database, String name, boolean rows) throws Exception {
        HiveMetaStoreClient client = new HiveMetaStoreClient(conf);
        Table table = client.getTable(database, name);
        System.out.println("table " + table.getTableType() + " " + table.getSd().getLocation()
            + " " + table.getSd().getSerdeInfo().getSerializationLib());
        for (FieldSchema column : table.getSd().getCols()) {
            System.out.println("column " + column.getName() + " " + column.getType());
        }
        for (FieldSchema key : table.getPartitionKeys()) {
            System.out.println("key " + key.getName() + " " + key.getType());
        }
        for (Partition partition : client.listPartitions(database, name, (short) -1)) {
            String location = partition.getSd().getLocation();
            System.out.println("partition " + String.join("/", partition.getValues()) + " " + location);
            partition.getParameters().forEach((key, value) -> System.out.println(
                "property " + String.join("/", partition.getValues()) + " " + key + "=" + value));
            if (rows) {
                rows(new JobConf(conf), partition.getSd().getInputFormat(), location);
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static <K, V> void rows(JobConf job, String format, String location) throws Exception {
        FileInputFormat.setInputPaths(job, new Path(location));
        Object made = Class.forName(format).getDeclaredConstructor().newInstance();
        ((org.apache.hadoop.mapred.JobConfigurable) made).configure(job);
        InputFormat<K, V> input = (InputFormat<K, V>) made;
        for (InputSplit split : input.getSplits(job, 1)) {
            RecordReader<K, V> reader = input.getRecordReader(split, job, Reporter.NULL);
            K key = reader.createKey();
            V value = reader.createValue();
            while (reader.next(key, value)) {
                System.out.println("row " + value);
            }
            reader.close();
        }
    }
}
