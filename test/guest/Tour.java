import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.nio.file.attribute.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.stream.*;

/** Tour read DIRECTORY... | write DIRECTORY: files by java.nio.file, channels and mapped memory. */
public class Tour {
    static String sum(ByteBuffer bytes) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        digest.update(bytes);
        return HexFormat.of().formatHex(digest.digest());
    }

    static void describe(Path path) {
        try {
            PosixFileAttributes a = Files.readAttributes(path, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
            System.out.print(path + " " + PosixFilePermissions.toString(a.permissions()) + " " + a.owner() + " " + a.group());
            if (a.isRegularFile()) {
                System.out.print(" " + a.size() + " " + a.lastModifiedTime().to(java.util.concurrent.TimeUnit.NANOSECONDS));
                System.out.print(" " + sum(ByteBuffer.wrap(Files.readAllBytes(path))));
            } else if (a.isSymbolicLink()) {
                System.out.print(" to " + Files.readSymbolicLink(path) + " " + path.toRealPath());
            }
            System.out.println();
        } catch (Exception e) {
            System.out.println(path + " " + e);
        }
    }

    static void read(Path top) throws Exception {
        try (Stream<Path> all = Files.walk(top)) {
            all.sorted().forEach(Tour::describe);
        }
        try (DirectoryStream<Path> some = Files.newDirectoryStream(top, "*e*")) {
            TreeSet<String> names = new TreeSet<>();
            some.forEach(p -> names.add(p.getFileName().toString()));
            System.out.println(names);
        }
        System.out.println(Files.exists(top.resolve("nothing")) + " " + Files.isReadable(top) + " "
                + Arrays.stream(Objects.requireNonNull(top.toFile().list())).sorted().collect(Collectors.toList()));
        try {
            Files.newInputStream(top.resolve("nothing"));
        } catch (NoSuchFileException e) {
            System.out.println(e);
        }
    }

    static void mapped(Path file) throws Exception {
        try (FileChannel c = FileChannel.open(file)) {
            System.out.println("mapped " + sum(c.map(FileChannel.MapMode.READ_ONLY, 0, c.size())));
        }
    }

    static void write(Path top) throws Exception {
        Path dir = Files.createDirectories(top.resolve("java/a/b"));
        Path file = Files.writeString(dir.resolve("file"), "by Java\n");
        Files.writeString(file, "more\n", StandardOpenOption.APPEND);
        Files.move(file, dir.resolve("moved"), StandardCopyOption.ATOMIC_MOVE);
        Files.copy(dir.resolve("moved"), top.resolve("file"), StandardCopyOption.REPLACE_EXISTING,
                StandardCopyOption.COPY_ATTRIBUTES);
        Files.setPosixFilePermissions(dir.resolve("moved"), PosixFilePermissions.fromString("rw-r-----"));
        Files.setLastModifiedTime(dir.resolve("moved"), FileTime.fromMillis(1_000_000_000_000L));
        Files.createSymbolicLink(dir.resolve("link"), Path.of("moved"));
        Files.createLink(dir.resolve("hard"), dir.resolve("moved"));
        Path temporary = Files.createTempFile(top, "temporary", ".x");
        Files.delete(temporary);
        try (RandomAccessFile f = new RandomAccessFile(top.resolve("blocks").toFile(), "rw")) {
            MappedByteBuffer memory = f.getChannel().map(FileChannel.MapMode.READ_WRITE, 4096, 4096);
            memory.put(10, (byte) 'X');
            memory.force();
            f.seek(200_000);
            f.writeUTF("random access");
            f.setLength(250_000);
            f.getChannel().force(true);
        }
        try (FileChannel from = FileChannel.open(top.resolve("blocks"));
                FileChannel to = FileChannel.open(top.resolve("java/copy"), StandardOpenOption.WRITE,
                        StandardOpenOption.CREATE_NEW)) {
            System.out.println(from.transferTo(1000, 100_000, to));
            System.out.println(to.tryLock() != null);
        }
        Files.delete(top.resolve("void"));
        try {
            Files.delete(top.resolve("full"));
        } catch (DirectoryNotEmptyException e) {
            System.out.println(e);
        }
        mapped(top.resolve("blocks"));
    }

    public static void main(String[] args) throws Exception {
        for (String name : Arrays.asList(args).subList(1, args.length)) {
            if (args[0].equals("read"))
                read(Path.of(name));
            else if (args[0].equals("write"))
                write(Path.of(name));
            else
                mapped(Path.of(name));
        }
    }
}
